"""Processes that are ended by a signal at a moment of a real load: for a test and a benchmark."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from pathlib import Path

from tests.support import models
from tests.support.server import Server, wait_until
from tests.support.watcher import Watcher

LARGE = "large/llama"
CAUSES = {signal.SIGKILL: "killed", signal.SIGSEGV: "crashed", signal.SIGBUS: "file_changed"}
_WORDS = 400_000  # 100 MB


@dataclass(frozen=True, slots=True)
class Kill:
    """One signal: which and when, and how the load has ended."""

    number: signal.Signals
    after_s: float  # after the request
    state: str
    step: int | None  # of the failure
    code: str | None
    told_s: float  # from the signal until the watcher had the end of the load

    @property
    def is_right(self) -> bool:
        """Whether the load failed with the cause, or was not met: it had another process, or was ready."""
        return self.state == "ready" or self.code == CAUSES[self.number]


def make_large(folder: Path) -> None:
    """Make the model whose loads are killed."""
    models.make_sparse_llama(folder / LARGE, _WORDS)


def typical_seconds(server: Server) -> float:
    """How long a load takes that is not the first one, from the request on."""
    seconds = 0.0
    for _ in range(2):
        server.wait_spare()
        began = time.monotonic()
        server.request_load(LARGE, dtype="float32", retry=True)
        assert server.wait_state(LARGE, ("ready", "failed"))["state"] == "ready"
        seconds = time.monotonic() - began
        server.delete(f"/api/models/{LARGE}")
    return seconds


def kill_at(server: Server, watcher: Watcher, after_s: float, number: signal.Signals) -> Kill:
    """Request a load, and send its process a signal so much later; the model is not in memory afterwards."""
    spare = server.wait_spare()
    load_id = server.request_load(LARGE, dtype="float32", retry=True)["load_id"]
    time.sleep(after_s)
    spare.send_signal(number)
    killed_at = time.monotonic()
    at, end = watcher.end_of(load_id)
    if end["state"] == "ready":
        wait_until(lambda: server.snapshot(LARGE)["state"] in ("ready", "failed"))
        server.delete(f"/api/models/{LARGE}")
    error = end["error"] or {"step": None, "code": None}
    return Kill(number, after_s, end["state"], error["step"], error["code"], at - killed_at)
