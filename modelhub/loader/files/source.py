"""Finds the origin of a model's files: the models folder, a demo, the Hugging Face cache, or the hub."""

from __future__ import annotations

import os
from pathlib import Path

from modelhub import formats
from modelhub.checkpoints import LoadSpec
from modelhub.demos import DEMOS, is_made
from modelhub.errors import ModelhubError
from modelhub.loader.files import cache
from modelhub.loader.files.demo_maker import DemoMaker
from modelhub.loader.files.inspection import CONFIG, Files
from modelhub.loader.files.origins import LocalFiles, Origin
from modelhub.loader.files.remote import HubRepository
from modelhub.model_ids import ModelId, parse_model_id


def find(spec: LoadSpec) -> Origin:
    """The first origin that has the model; the hub if none on this machine has.

    Only the cache and the hub know revisions, so an id with a revision is not looked up in the folders.
    Raises ``invalid_id``, and for a folder without config.json what its files say: ``gguf``, ``adapter``...
    """
    model_id = parse_model_id(spec.model_id)
    if model_id.revision is None:
        folder = Path(os.path.realpath(Path(spec.models_dir, model_id.repo)))
        if os.path.lexists(folder / CONFIG):
            return LocalFiles("folder", Files(spec.model_id, folder, is_own=True))
        if model_id.repo in DEMOS:
            folder = Path(os.path.realpath(Path(spec.demo_dir, model_id.repo)))
            if is_made(folder):
                return LocalFiles("demo", Files(spec.model_id, folder))
            return DemoMaker(DEMOS[model_id.repo], Path(os.path.realpath(spec.demo_dir)))
    cached = cache.find_complete(model_id, spec.model_id)
    if cached is not None:
        return LocalFiles("cache", *cached)
    if model_id.revision is None and (error := _cannot_load(Path(spec.models_dir, model_id.repo), model_id)):
        raise error
    return HubRepository(model_id, spec.model_id)


def _cannot_load(folder: Path, model_id: ModelId) -> ModelhubError | None:
    """Why the user's own folder, which has no config.json, cannot be loaded; None where there is none."""
    try:
        names = os.listdir(folder)
    except OSError:
        return None
    return formats.cannot_load(model_id.repo, names) if formats.looks_like_model(names) else None
