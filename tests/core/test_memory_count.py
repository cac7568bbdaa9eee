"""The memory of all processes of a server: what an unload frees, counted while nothing waits."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelhub.checkpoints import LoadSpec
from modelhub.core.memory_count import MemoryCount
from modelhub.memory import private_bytes, process_memory, resident_bytes
from modelhub.workers.launcher import Launcher
from modelhub.workers.worker import Worker
from tests.support.ids import LLAMA


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    with Launcher() as running:
        running.start()
        assert running.warm.wait(60)
        yield running


@pytest.fixture
def workers(launcher: Launcher, models_dir: Path) -> Iterator[list[Worker]]:
    """Three workers that hold a model."""
    spec = LoadSpec(LLAMA, models_dir=str(models_dir), demo_dir="")
    started = [launcher.worker() for _ in range(3)]
    for worker in started:
        for _ in worker.load(spec):
            pass
    yield started
    for worker in started:
        worker.close()


def test_the_count_is_what_the_kernel_says_of_all_processes(
    launcher: Launcher, workers: list[Worker]
) -> None:
    counted = MemoryCount(launcher).total()
    assert counted is not None
    processes = [os.getpid(), launcher.zygote_pid or 0, *launcher.worker_pids()]
    assert len(processes) == 5
    assert counted == pytest.approx(sum(process_memory(pid).total for pid in processes), rel=0.15)


def test_a_worker_that_leaves_frees_what_it_had_for_itself(launcher: Launcher, workers: list[Worker]) -> None:
    count = MemoryCount(launcher)
    leaving = workers[1]
    before = count.total(leaving)
    assert before is not None
    assert leaving.pid is not None
    own = private_bytes([leaving.pid])[leaving.pid]
    leaving.close()
    after = count.total()
    assert after is not None
    assert before - after == pytest.approx(own, abs=4_000_000)
    assert own > 5_000_000


def test_memory_that_a_process_takes_later_counts(launcher: Launcher, workers: list[Worker]) -> None:
    count = MemoryCount(launcher)
    before = count.total()
    more = b"x" * 60_000_000
    after = count.total()
    assert before is not None
    assert after is not None
    assert after - before == pytest.approx(len(more), abs=6_000_000)


def test_no_process_has_to_respond(launcher: Launcher, workers: list[Worker]) -> None:
    """The zygote forks and kills meanwhile: it is not asked."""
    stopped = [launcher.zygote_pid, workers[0].pid]
    count = MemoryCount(launcher)
    try:
        for pid in stopped:
            os.kill(pid or 0, signal.SIGSTOP)
        total = count.total(leaving=workers[0])
    finally:
        for pid in stopped:
            os.kill(pid or 0, signal.SIGCONT)
    assert total is not None
    assert total > resident_bytes(launcher.zygote_pid or 0)


def test_a_worker_is_read_ahead(launcher: Launcher, workers: list[Worker]) -> None:
    count = MemoryCount(launcher)
    count.read_later(workers[0])
    assert set(count._readings) == {workers[0].pid}
    workers[1].close()
    count.read_later(workers[1])
    assert set(count._readings) == {workers[0].pid}
    count.total()
    assert set(count._readings) == {os.getpid(), workers[0].pid, workers[2].pid}


def test_nothing_is_counted_without_a_zygote() -> None:
    assert MemoryCount(Launcher()).total() is None
