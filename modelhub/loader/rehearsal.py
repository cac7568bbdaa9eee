"""Loads a tiny model, so that the next load in the same process finds threads, code and caches ready."""

from __future__ import annotations

import gc
import logging
import tempfile
import time
from contextlib import closing
from itertools import chain
from pathlib import Path

from modelhub.checkpoints import LoadSpec
from modelhub.demos import Demo
from modelhub.loader import nine_steps
from modelhub.loader.files.demo_maker import DemoMaker

log = logging.getLogger(__name__)
_TINY = Demo("rehearsal/tiny", layers=1, hidden=16, intermediate=16, heads=1, shards=1)


def rehearse(device: str = "cpu") -> float | None:
    """Generate the tiny model, load it to ``device``, and discard it: a GPU has its context then.

    Returns how many seconds that took, None where it failed. Not for a process that forks others: it starts
    torch's threads.
    """
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="modelhub-") as folder:
            with closing(DemoMaker(_TINY, Path(folder))) as maker:
                for _ in chain(maker.fetch_config(), maker.fetch_processor(), maker.fetch_weights()):
                    pass
            spec = LoadSpec(_TINY.model_id, models_dir=folder, demo_dir=folder, device=device)
            with closing(nine_steps.load(spec)) as steps:
                for _ in steps:
                    pass
            gc.collect()  # the model has cycles: the next load would unmap its weights, and wait for the disk
    except Exception as error:
        log.warning("The rehearsal failed, so the next load takes a little longer: %s", error)
        return None
    return time.monotonic() - began
