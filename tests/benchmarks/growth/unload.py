"""The receipt of an unload with a hundred models in memory: what it costs to count the memory of all."""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from pathlib import Path

from modelhub.checkpoints import LoadSpec
from modelhub.core.memory_count import MemoryCount
from modelhub.memory import process_memory
from modelhub.workers.launcher import Launcher
from modelhub.workers.worker import Worker
from tests.benchmarks.growth import Row
from tests.support import models

WORKERS = 100
ROUNDS = 9


def measure() -> list[Row]:
    """Hold a hundred models, and unload some."""
    with tempfile.TemporaryDirectory() as folder, Launcher() as launcher:
        models.make_bert(Path(folder) / "tiny" / "bert")
        spec = LoadSpec("tiny/bert", models_dir=folder, demo_dir="")
        launcher.start()
        assert launcher.warm.wait(60)
        count = MemoryCount(launcher)
        workers = [_loaded(launcher, spec) for _ in range(WORKERS)]
        threads = [threading.Thread(target=count.read_later, args=(worker,)) for worker in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        count.total()
        everything = _everything_ms(launcher)
        counts, forks = [], []
        for worker in workers[:ROUNDS]:
            counted, forked = _unload(launcher, count, worker)
            counts.append(counted)
            forks.append(forked)
    return [
        Row("memory counts of an unload, 100 workers", statistics.median(counts), "ms", 100),
        Row("... a fork takes meanwhile, with the wait for its turn", statistics.median(forks), "ms", 100),
        Row("... for comparison: to ask the kernel about each process", everything, "ms"),
    ]


def _loaded(launcher: Launcher, spec: LoadSpec) -> Worker:
    worker = launcher.worker()
    for _ in worker.load(spec):
        pass
    return worker


def _unload(launcher: Launcher, count: MemoryCount, worker: Worker) -> tuple[float, float]:
    """Milliseconds of both counts, and of a fork that is requested as the first one begins."""
    forked: list[float] = []

    def fork() -> None:
        began = time.perf_counter()
        with launcher.worker() as other:
            while other.pid is None:
                time.sleep(0.001)
            forked.append((time.perf_counter() - began) * 1000)

    thread = threading.Thread(target=fork)
    thread.start()
    began = time.perf_counter()
    count.total(leaving=worker)
    before = time.perf_counter() - began
    worker.close()
    thread.join()
    began = time.perf_counter()
    count.total()
    return (before + time.perf_counter() - began) * 1000, forked[0]


def _everything_ms(launcher: Launcher) -> float:
    began = time.perf_counter()
    for pid in (launcher.zygote_pid or 0, *launcher.worker_pids()):
        process_memory(pid)
    return (time.perf_counter() - began) * 1000
