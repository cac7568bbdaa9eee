"""Finds the origin of a model's files: the models folder, a demo, the Hugging Face cache, or the hub."""

from __future__ import annotations

import os
from pathlib import Path

from modelhub import formats
from modelhub.checkpoints import LoadSpec
from modelhub.demos import DEMOS
from modelhub.errors import ModelhubError
from modelhub.loader.files.demo_maker import DemoMaker
from modelhub.loader.files.local import find_local
from modelhub.loader.files.origins import Origin
from modelhub.loader.files.remote import HubRepository
from modelhub.model_ids import ModelId, parse_model_id


def find(spec: LoadSpec) -> Origin:
    """The first origin that has the model; the hub if none on this machine has.

    Raises ``invalid_id``, ``no_permission``, and for a folder without config.json what its files say:
    ``gguf``, ``adapter``...
    """
    if (local := find_local(spec)) is not None:
        return local
    model_id = parse_model_id(spec.model_id)
    if model_id.revision is None and model_id.repo in DEMOS:
        return DemoMaker(DEMOS[model_id.repo], Path(os.path.realpath(spec.demo_dir)))
    if model_id.revision is None and (error := _cannot_load(Path(spec.models_dir, model_id.repo), model_id)):
        raise error
    return HubRepository(model_id, spec.model_id)


def _cannot_load(folder: Path, model_id: ModelId) -> ModelhubError | None:
    """Why the user's own folder, where no config.json is seen, cannot be loaded; None if it is not there."""
    try:
        names = os.listdir(folder)
    except PermissionError:
        return ModelhubError("no_permission", id=model_id.repo, file="The folder")
    except OSError:
        return None
    return formats.cannot_load(model_id.repo, names) if formats.looks_like_model(names) else None
