"""What a load needs beside the bytes of the weights, kept from an earlier load of the same model."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

from modelhub.checkpoints import LoadSpec
from modelhub.loader.background import Cancel
from modelhub.loader.configuration import read_config
from modelhub.loader.files.inspection import CONFIG, Files, WeightFile, check_folder, real_path
from modelhub.loader.files.local import find_local
from modelhub.loader.files.weight_files import read_weight_files, weight_names
from modelhub.loader.mapped import assemble_mapped, converts
from modelhub.loader.processors import load_processor
from modelhub.loader.strategy import Plan, make_plan
from modelhub.loader.weights import Assembled

Fingerprint = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Prepared:
    """The results of steps 2 and 4, and the model with its weights mapped, if that is all there is to do."""

    spec: LoadSpec
    files: Files
    fingerprint: Fingerprint
    config: Any
    processor: Any
    weights: tuple[WeightFile, ...]
    plan: Plan
    assembled: Assembled | None

    def fits(self, spec: LoadSpec, files: Files) -> bool:
        """Whether it is for this load, and no file has changed since."""
        same = replace(spec, force=False) == self.spec and files == self.files
        return same and fingerprint(files) == self.fingerprint


def prepare(spec: LoadSpec) -> Prepared | None:
    """Prepare a load of a model whose files are on this machine; None if they are not.

    Reads no weights, computes nothing and starts no thread, so that the process can be forked. Raises
    ModelhubError, and whatever transformers raises.
    """
    origin = find_local(spec)
    if origin is None:
        return None
    files = origin.files
    known = fingerprint(files)
    names = check_folder(files)
    config = read_config(files)
    weights = read_weight_files(files, weight_names(files, names))
    processor = load_processor(files, names, config)
    plan = make_plan(spec, files, config, weights)
    model = None
    if not converts(plan, weights):
        model = assemble_mapped(plan, files, weights, lambda tensors: None, Cancel())
        if model is None:  # the skeleton may have been changed
            plan = make_plan(spec, files, config, weights)
    assembled = None if model is None else Assembled(model, mapped=True)
    return Prepared(replace(spec, force=False), files, known, config, processor, weights, plan, assembled)


def fingerprint(files: Files) -> Fingerprint:
    """Name, inode, size and time of change of every file in the folder; empty if it is not there any more."""
    if not (files.folder / CONFIG).exists():
        return ()
    found = []
    with os.scandir(files.folder) as entries:
        for entry in entries:
            if entry.is_file():
                status = os.stat(real_path(files, entry.name))
                found.append((entry.name, status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(sorted(found))
