"""Loads that are not timed, since looking costs time: what events claim, and the memory of the worker."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.benchmarks.load import cache
from tests.benchmarks.load.ours import Ours

_EVERY_S = 0.005


@dataclass
class Audit:
    """The worst of all loads of a model, in bytes.

    ``overclaimed`` were said to be in memory and had not been (``worst`` is that event), ``missing`` had not
    when the model was ready; ``taken_back`` were, until the kernel took them back in the middle of the load.
    ``private`` is the most memory, that of mapped files aside, which the worker had beyond an idle one.
    """

    events: int = 0
    worst: str = ""
    overclaimed: int = 0
    missing: int = 0
    taken_back: int = 0
    private: int = 0

    def load(self, ours: Ours, model_id: str, folder: Path, **body: Any) -> None:
        """Load once more, and look."""

        def look(payload: dict[str, Any]) -> None:
            self.events += 1
            if payload["unit"] == "bytes" and payload["step"] == 5 and payload["done"]:
                over = self._absent(folder, payload["done"])
                if over > self.overclaimed:
                    self.overclaimed = over
                    self.worst = f"{payload['done']} of {payload['size']} bytes at {payload['elapsed']} s"
            if payload["state"] == "ready":
                size = sum(path.stat().st_size for path in cache.weights(folder))
                self.missing = max(self.missing, self._absent(folder, size))

        idle = _anonymous(ours.server.wait_spare().pid)
        with _sampled(ours) as peaks:
            ours.load(model_id, look, **body)
        workers = [process.pid for process in _below(ours) if model_id in _title(process)]
        assert workers, "no process bears the model's name"
        self.private = max(self.private, *(peaks.get(pid, 0) - idle for pid in workers))

    def _absent(self, folder: Path, claimed: int) -> int:
        """How many of these bytes have never been in memory."""
        taken_back = cache.taken_back(folder)
        self.taken_back = max(self.taken_back, taken_back)
        return max(0, claimed - cache.resident(folder) - taken_back)


def _below(ours: Ours) -> list[psutil.Process]:
    return psutil.Process(ours.server.pid).children(recursive=True)


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@contextmanager
def _sampled(ours: Ours) -> Iterator[dict[int, int]]:
    """The most anonymous memory of each process below the server, in bytes by process id."""
    peaks: dict[int, int] = {}
    ended = threading.Event()

    def sample() -> None:
        number, pids = 0, []
        while not ended.wait(_EVERY_S):
            if number % 10 == 0:
                pids = [process.pid for process in _below(ours)]
            for pid in pids:
                peaks[pid] = max(peaks.get(pid, 0), _anonymous(pid))
            number += 1

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield peaks
    finally:
        ended.set()
        thread.join()


def _anonymous(pid: int) -> int:
    """Bytes of a process that come from no file; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon:", "RssShmem:")))
