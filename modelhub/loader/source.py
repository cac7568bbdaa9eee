"""Model id -> where its files come from: the models folder, a demo, the Hugging Face cache, the hub."""

from __future__ import annotations

import os
from pathlib import Path

from modelhub.checkpoints import LoadSpec
from modelhub.demos import DEMOS
from modelhub.errors import ModelhubError
from modelhub.identifiers import parse_model_id
from modelhub.loader import cache
from modelhub.loader.inspection import CONFIG, Files
from modelhub.loader.origins import Here, Origin


def find(spec: LoadSpec) -> Origin:
    """The first place that has the model; the hub where none has.

    A revision is meaningful in the cache and on the hub only, so an id with one is not looked for in the
    folders. Raises ``invalid_id``.
    """
    model_id = parse_model_id(spec.model_id)
    if model_id.revision is None:
        folder = Path(os.path.realpath(Path(spec.models_dir, model_id.repo)))
        if os.path.lexists(folder / CONFIG):
            return Here("folder", Files(spec.model_id, folder))
        if model_id.repo in DEMOS:
            demo = Path(spec.demo_dir, model_id.repo)
            return Here("demo", Files(spec.model_id, demo))
    cached = cache.find_complete(model_id, spec.model_id)
    if cached is not None:
        return Here("cache", *cached)
    raise ModelhubError("unknown_model", id=spec.model_id)
