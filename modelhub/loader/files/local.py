"""Finds the files of a model that is on this machine already, without torch or any network."""

from __future__ import annotations

import os
from pathlib import Path

from modelhub.checkpoints import LoadSpec
from modelhub.demos import DEMOS, is_made
from modelhub.loader.files import cache
from modelhub.loader.files.opening import CONFIG, Files
from modelhub.loader.files.origins import LocalFiles
from modelhub.model_ids import parse_model_id


def find_local(spec: LoadSpec) -> LocalFiles | None:
    """The model in the models folder, among the demos or in the Hugging Face cache; None if it is in none.

    Only the cache knows revisions, so an id with a revision is not looked up in the folders. Raises
    ``invalid_id``.
    """
    model_id = parse_model_id(spec.model_id)
    if model_id.revision is None:
        folder = Path(os.path.realpath(Path(spec.models_dir, model_id.repo)))
        if os.path.lexists(folder / CONFIG):
            return LocalFiles("folder", Files(spec.model_id, folder, is_own=True))
        if model_id.repo in DEMOS:
            folder = Path(os.path.realpath(Path(spec.demo_dir, model_id.repo)))
            return LocalFiles("demo", Files(spec.model_id, folder)) if is_made(folder) else None
    cached = cache.find_complete(model_id, spec.model_id)
    return None if cached is None else LocalFiles("cache", *cached)
