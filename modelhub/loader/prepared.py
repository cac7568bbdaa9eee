"""What a load needs beside the bytes of the weights, kept from an earlier load of the same model."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from modelhub.checkpoints import LoadSpec
from modelhub.loader.background import Cancel
from modelhub.loader.configuration import read_config
from modelhub.loader.files.fingerprint import Fingerprint, fingerprint
from modelhub.loader.files.inspection import check_folder
from modelhub.loader.files.local import find_local
from modelhub.loader.files.opening import Files, WeightFile
from modelhub.loader.files.origins import Origin
from modelhub.loader.files.weight_files import read_weight_files, weight_names
from modelhub.loader.finishing import prepare_for_inference
from modelhub.loader.forward import build_inputs
from modelhub.loader.mapped import assemble_mapped, converts
from modelhub.loader.panics import panics_as_errors
from modelhub.loader.processors import load_processor
from modelhub.loader.strategy import Plan, make_plan
from modelhub.loader.weights import Assembled


@dataclass(frozen=True, slots=True)
class Prepared:
    """The results of steps 2 and 4, and the model with its weights mapped, if that is all there is to do.

    ``inputs`` are those of its first forward pass.
    """

    spec: LoadSpec
    files: Files
    fingerprint: Fingerprint
    config: Any
    processor: Any
    weights: tuple[WeightFile, ...]
    plan: Plan
    assembled: Assembled | None
    inputs: dict[str, Any] | None

    def fits(self, spec: LoadSpec, files: Files) -> bool:
        """Whether it is for this load, and no file has changed since."""
        same = replace(spec, force=False) == self.spec and files == self.files
        return same and fingerprint(files) == self.fingerprint


def prepare(
    spec: LoadSpec,
    confine: Callable[[Origin], Origin] = lambda origin: origin,
    admit: Callable[[int], None] = lambda need_bytes: None,
) -> Prepared | None:
    """Prepare a load of a model whose files are on this machine; None if they are not.

    Reads no weights, computes nothing and starts no thread, so that the process can be forked. ``confine`` is
    called before a library sees any of the files, ``admit`` before the weights are mapped. Raises
    ModelhubError, and whatever transformers raises.
    """
    local = find_local(spec)
    if local is None:
        return None
    files = local.files
    origin = confine(local)
    for fetch in (origin.fetch_config, origin.fetch_processor, origin.fetch_weights):
        deque(fetch(), maxlen=0)  # all of it is here
    known = fingerprint(files)
    names = check_folder(files)
    config = read_config(files)
    weights = read_weight_files(files, weight_names(files, names))
    processor = load_processor(files, names, config)
    plan = make_plan(spec, files, config, weights)
    admit(plan.need_bytes)
    model = None
    if not converts(plan, weights):
        model = assemble_mapped(plan, files, weights, lambda tensors: None, Cancel())
        if model is None:  # the skeleton may have been changed
            plan = make_plan(spec, files, config, weights)
    assembled = inputs = None
    if model is not None:
        prepare_for_inference(model)
        assembled = Assembled(model, mapped=True)
        with contextlib.suppress(Exception), panics_as_errors():  # the load will say why
            inputs = build_inputs(model, processor)
    key = replace(spec, force=False)
    return Prepared(key, files, known, config, processor, weights, plan, assembled, inputs)
