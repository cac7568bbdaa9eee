"""A load of a tiny model: what follows in the same process does little for the first time."""

from __future__ import annotations

import logging
import tempfile
from contextlib import closing
from itertools import chain
from pathlib import Path

from modelhub import loader
from modelhub.checkpoints import LoadSpec
from modelhub.demos import Demo
from modelhub.loader.files.demo_maker import DemoMaker

log = logging.getLogger(__name__)
_TINY = Demo("rehearsal/tiny", layers=1, hidden=16, intermediate=16, heads=1, shards=1)


def rehearse() -> None:
    """Make the model, load it with its forward pass, and forget it.

    Not for a process that others are forked from: it has computed in parallel then.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="modelhub-") as folder:
            with closing(DemoMaker(_TINY, Path(folder))) as maker:
                for _ in chain(maker.fetch_config(), maker.fetch_processor(), maker.fetch_weights()):
                    pass
            spec = LoadSpec(_TINY.model_id, models_dir=folder, demo_dir=folder, device="cpu")
            with closing(loader.load(spec)) as steps:
                for _ in steps:
                    pass
    except Exception as error:
        log.warning("The load will take a little longer: %s", error)
