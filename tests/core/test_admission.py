"""Memory that is reserved for a load, and what of it counts as taken."""

from __future__ import annotations

import mmap
import os
import threading
from typing import Any

from modelhub.checkpoints import LoadSpec
from modelhub.core.admission import Admission
from modelhub.core.eviction import Eviction
from modelhub.core.load import Load
from modelhub.core.loads import Loads

MB = 10**6


class LateWorker:
    """A worker whose process id the zygote says a moment after the worker has asked for admission."""

    pid: int | None = None


def test_what_a_load_takes_counts_also_where_its_process_id_comes_after_its_request() -> None:
    loads: Any = Loads(1)
    unused: Any = None
    admission = Admission(loads, unused, Eviction(loads, unused, False, 0.0), unused)
    load = Load(LoadSpec("org/name", models_dir="", demo_dir=""), "rest")
    worker: Any = LateWorker()
    load.worker = worker
    threading.Timer(0.1, lambda: setattr(worker, "pid", os.getpid())).start()
    admission.admit(load, 100 * MB, [])
    assert 99 * MB < load.pending_bytes <= 100 * MB
    # Memory of its own: the allocator might have some that was freed before.
    with mmap.mmap(-1, 40 * MB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as taken:
        for page in range(0, len(taken), mmap.PAGESIZE):
            taken[page] = 1
        assert 58 * MB < load.pending_bytes < 62 * MB
    load.reserve(30 * MB)
    assert load.pending_bytes == 30 * MB, "a ready model's mapped weights stay available"
