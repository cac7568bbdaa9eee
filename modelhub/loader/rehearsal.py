"""A load of a tiny model up to its weights: processes forked after it do little for the first time."""

from __future__ import annotations

import logging
import tempfile
from contextlib import closing
from itertools import chain
from pathlib import Path

from modelhub import loader
from modelhub.checkpoints import LoadSpec
from modelhub.demos import Demo
from modelhub.loader.demo_maker import DemoMaker

log = logging.getLogger(__name__)
_TINY = Demo("rehearsal/tiny", layers=1, hidden=16, intermediate=16, heads=1, shards=1)
_LAST_STEP = 5  # no forward pass: a process that has computed in parallel can not be forked safely


def rehearse() -> None:
    """Make the model, load it up to step 5, and forget it; every thread has ended then.

    Takes from a first load what it imports late, compiles and caches: a sixth of the load of a small model.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="modelhub-") as folder:
            with closing(DemoMaker(_TINY, Path(folder))) as maker:
                for _ in chain(maker.bring_config(), maker.bring_processor(), maker.bring_weights()):
                    pass
            spec = LoadSpec(_TINY.model_id, models_dir=folder, demo_dir=folder, device="cpu")
            with closing(loader.load(spec)) as steps:
                next(checkpoint for checkpoint in steps if checkpoint.step > _LAST_STEP)
    except Exception as error:
        log.warning("The first load will take a little longer: %s", error)
