"""Memory that is reserved for a load, and what of it counts as taken."""

from __future__ import annotations

import mmap
import os
import threading
from typing import Any

from modelhub import memory
from modelhub.checkpoints import LoadSpec
from modelhub.config import read_settings
from modelhub.core.admission import Admission
from modelhub.core.eviction import Eviction
from modelhub.core.load import Load
from modelhub.core.loads import Loads
from modelhub.core.one_machine import OneMachine

MB = 10**6


class LateWorker:
    """A worker whose process id the zygote says a moment after the worker has asked for admission."""

    pid: int | None = None

    def anonymous_bytes(self) -> int:
        """As of a worker: not known before its process is."""
        return 0 if self.pid is None else memory.anonymous_bytes(self.pid)


def test_what_a_load_takes_counts_also_where_its_process_id_comes_after_its_request() -> None:
    machines = OneMachine(read_settings({}, {}))
    loads = Loads(machines)
    unused: Any = None
    admission = Admission(loads, Eviction(loads, unused, False, 0.0), unused)
    load = Load(LoadSpec("org/name", models_dir="", demo_dir=""), "rest")
    worker: Any = LateWorker()
    load.machine, load.worker = machines.machine, worker
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
