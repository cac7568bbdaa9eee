"""The two servers that are asked, each with the same model from the same folder."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import requests

from tests.benchmarks.generation.chat import Chat
from tests.benchmarks.load.processes import Serve
from tests.support.prepared import is_prepared
from tests.support.server import Server, wait_until


class Modelhub:
    """modelhub."""

    name = "modelhub"

    def __init__(self, data: Path, models: Path, model_id: str, other_id: str) -> None:
        self._other = other_id
        self.server = Server(data, MODELS_DIR=models, KEEP_PREPARED_SECONDS=600).start().wait_warm()
        self.model = model_id
        self.chat = Chat(self.server.url, model_id)

    @property
    def pid(self) -> int:
        """Its process."""
        return self.server.pid

    def unload(self) -> None:
        """Have the model leave memory, and wait until all is as it is a second later: it is kept prepared."""
        if self.server.delete(f"/api/models/{self.model}").ok:
            wait_until(lambda: is_prepared(self.server, self.model))
        self.server.wait_spare()

    def load_other(self) -> None:
        """Load the other model, and wait until it is ready."""
        self.server.load(self._other)

    def unload_other(self) -> None:
        """Have the other model leave memory."""
        self.server.delete(f"/api/models/{self._other}")

    def close(self) -> None:
        """End it."""
        self.server.stop()


class TransformersServe:
    """transformers serve, of an environment of its own, as ``Modelhub``; ``options`` of its command line."""

    def __init__(self, python: Path, folder: Path, *options: str) -> None:
        self.name = " ".join(("serve", *options))
        self._serve = Serve(python, folder, *options)
        self.model = str(folder)
        self.chat = Chat(self._serve.url, self.model)

    @property
    def pid(self) -> int:
        """Its process."""
        return self._serve.pid

    def unload(self) -> None:
        """Have the model leave memory."""
        requests.post(f"{self._serve.url}/reset", timeout=60).raise_for_status()

    def close(self) -> None:
        """End it."""
        self._serve.close()


def seconds_to_idle(pid: int, most_s: float = 30.0) -> float:
    """How long a process and its children still compute, from now: until 0.1 s pass with little work."""
    began = time.monotonic()
    before = _busy_s(pid)
    while time.monotonic() - began < most_s:
        time.sleep(0.1)
        now = _busy_s(pid)
        if now - before < 0.03:
            return max(0.0, time.monotonic() - began - 0.1)
        before = now
    return most_s


def _busy_s(pid: int) -> float:
    process = psutil.Process(pid)
    return sum(sum(one.cpu_times()[:2]) for one in (process, *process.children(recursive=True)))
