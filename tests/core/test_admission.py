"""Memory that is reserved for a load, and what of it counts as taken."""

from __future__ import annotations

import mmap
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from modelhub import memory
from modelhub.checkpoints import LoadSpec
from modelhub.config import read_settings
from modelhub.core.admission import Admission
from modelhub.core.eviction import Eviction
from modelhub.core.load import Load
from modelhub.core.loads import Loads
from modelhub.core.one_machine import OneMachine
from modelhub.errors import ModelhubError
from tests.support.machines import Node, Nodes

MB = 10**6


class LateWorker:
    """A worker whose process id the zygote says a moment after the worker has asked for admission."""

    pid: int | None = None
    free_bytes: int | None = None

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


@pytest.fixture
def nodes(tmp_path: Path) -> Nodes:
    return Nodes(tmp_path, ["b"])


def _admission(nodes: Nodes) -> tuple[Admission, Loads]:
    loads, unused = Loads(nodes), Any
    return Admission(loads, Eviction(loads, unused, False, 0.0), unused), loads


def _load_on(node: Node, found_bytes: int | None) -> Load:
    """A load whose process has found so much free when it asked."""
    load = Load(LoadSpec("org/name", models_dir="", demo_dir=""), "rest")
    worker: Any = LateWorker()
    worker.pid, worker.free_bytes = os.getpid(), found_bytes
    load.machine, load.worker = node, worker
    return load


def test_what_a_process_has_just_found_on_its_node_counts_more_than_the_last_report(nodes: Nodes) -> None:
    admission, _ = _admission(nodes)
    nodes["b"].free = lambda: 900 * MB  # before another program took it
    with pytest.raises(ModelhubError, match=r"needs 100 MB of memory, 50\.0 MB are free"):
        admission.admit(_load_on(nodes["b"], 50 * MB), 100 * MB, [])
    nodes["b"].free = lambda: 0  # before something was freed
    load = _load_on(nodes["b"], 200 * MB)
    admission.admit(load, 100 * MB, [])
    assert load.reserved_bytes == 100 * MB
    with pytest.raises(ModelhubError, match="0 B are free"):
        admission.admit(_load_on(nodes["b"], None), 100 * MB, [])


def test_what_leaves_a_node_counts_once_the_node_reports_it(nodes: Nodes) -> None:
    admission, loads = _admission(nodes)
    leaving = _load_on(nodes["b"], None)
    leaving.reserve(300 * MB)  # weights that are mapped: the system calls them free all the time
    loads.latest["org/leaving"] = leaving
    reported = 400 * MB
    nodes["b"].free = lambda: reported

    def leave() -> None:
        nonlocal reported
        leaving.process_exited.set()
        leaving.reserve(0)
        threading.Timer(0.3, report).start()

    def report() -> None:
        nonlocal reported
        reported = 450 * MB  # with what its process had for itself

    threading.Timer(0.1, leave).start()
    load = _load_on(nodes["b"], 100 * MB)
    admission.admit(load, 450 * MB, [leaving])
    assert load.reserved_bytes == 450 * MB
