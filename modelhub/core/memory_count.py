"""The memory of all processes of the server together, counted without blocking any of them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

from modelhub import memory
from modelhub.workers.launcher import Launcher
from modelhub.workers.worker import Worker

_READ_AFTER_S = 1.0  # a model that was just loaded may need the core for its first prediction


class _Reading(NamedTuple):
    private: int  # bytes that only this process has
    resident: int  # of the same moment, with what it shares


class MemoryCount:
    """Counts what the zygote has in memory, and of each other process what it has for itself.

    Workers share with each other only what they have from the zygote, so that each page counts once. The
    kernel takes some 10 ms to say how much of a process is its own, and more for a large model: a helper
    process reads it, once for each process. From then on it is corrected by how much the process's resident
    memory has changed, which takes microseconds to read.
    """

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._readings: dict[int, _Reading] = {}

    def read_later(self, worker: Worker) -> None:
        """Read how much a new worker has for itself, so that ``total`` need not; for a thread of its own."""
        if not worker.wait(_READ_AFTER_S) and worker.pid is not None:
            self._read([worker.pid])

    def total(self, leaving: Worker | None = None) -> int | None:
        """The bytes of all processes; None while the zygote is not warm.

        That of a worker which is about to leave is read again: its part has to be exact.
        """
        zygote, workers = self._launcher.zygote_pid, self._launcher.worker_pids()
        if zygote is None or not self._launcher.warm.is_set():
            return None
        processes = [os.getpid(), *workers]
        again = () if leaving is None else (leaving.pid,)
        self._read([pid for pid in processes if pid not in self._readings or pid in again])
        self._readings = {pid: self._readings[pid] for pid in processes if pid in self._readings}
        return memory.resident_bytes(zygote) + sum(
            reading.private + memory.resident_bytes(pid) - reading.resident
            for pid, reading in self._readings.items()
        )

    def own_bytes(self, worker: Worker | None) -> int | None:
        """What a worker has for itself, as of now; None if it was never read."""
        reading = None if worker is None or worker.pid is None else self._readings.get(worker.pid)
        if reading is None or worker is None or worker.pid is None:
            return None
        return max(0, reading.private + memory.resident_bytes(worker.pid) - reading.resident)

    def _read(self, pids: Iterable[int]) -> None:
        before = {pid: memory.resident_bytes(pid) for pid in pids}
        for pid, private in memory.private_bytes(before).items():
            self._readings[pid] = _Reading(private, before[pid])
