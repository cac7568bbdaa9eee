"""The contestants of load.py: each runs a load once and returns how many seconds that took."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import requests

from modelhub.memory import process_memory
from tests.support.resident import resident_bytes
from tests.support.server import ROOT, Server, free_port
from tests.support.truth import TERMINAL
from tests.support.watcher import Watcher

MAY_FAIL = (psutil.Error, OSError)


class Contestant:
    """``run`` loads once; ``tree`` is the root of the processes whose memory and processor time count."""

    name = ""
    tree: int | None = None

    def run(self) -> float:
        """Seconds until the model can be used."""
        raise NotImplementedError

    def rest(self) -> None:
        """Restore the state before the run; not timed."""

    def close(self) -> None:
        """End what it started."""


class Modelhub(Contestant):
    """POST to ``model_load_completed`` at a subscribed client."""

    name = "modelhub"

    def __init__(self, server: Server, watcher: Watcher, model_id: str, weights: list[Path]) -> None:
        self._server, self._watcher, self._model_id, self._weights = server, watcher, model_id, weights
        self.tree = server.pid
        self.overclaim = 0.0
        self.missing = 0

    def run(self) -> float:
        watcher = self._watcher
        seen, began = len(watcher.events), time.monotonic()
        self._server.request_load(self._model_id)
        checked = seen
        while not any(name in TERMINAL for name, _ in watcher.events[seen:]):
            if len(watcher.events) > checked:
                checked = len(watcher.events)
                self._check(watcher.events[-1][1])
            time.sleep(0.001)
        name, payload = watcher.events[-1]
        assert name == "model_load_completed", payload["error"]
        total = sum(path.stat().st_size for path in self._weights)
        self.missing = max(self.missing, total - sum(map(resident_bytes, self._weights)))
        return watcher.times[-1] - began

    def rest(self) -> None:
        self._server.delete(f"/api/models/{self._model_id}")
        self._server.wait_spare()  # so that it does not rehearse while others are measured

    def _check(self, payload: dict[str, float]) -> None:
        """Record how many bytes too many the event counts as in memory, as a share of the size."""
        if payload["step"] == 5 and payload["done"] and payload["done"] < payload["size"]:
            here = sum(map(resident_bytes, self._weights))
            self.overclaim = max(self.overclaim, (payload["done"] - here) / payload["size"])


class Process(Contestant):
    """A process with everything imported that loads when it gets ``line``."""

    def __init__(self, name: str, arguments: list[str], line: str) -> None:
        self.name, self._line = name, line
        self._process = subprocess.Popen(
            arguments,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.tree = self._process.pid
        assert self._process.stdout is not None
        assert self._process.stdout.readline().strip() == "ready"

    def run(self) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(self._line + "\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


class Fresh(Contestant):
    """A new Python process that imports, loads, and ends."""

    name = "fresh process"

    def __init__(self, folder: Path) -> None:
        self._arguments = [sys.executable, "-m", "tests.benchmarks.peer", str(folder)]

    def run(self) -> float:
        began = time.monotonic()
        subprocess.run(self._arguments, cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
        return time.monotonic() - began


class Serve(Contestant):
    """``transformers serve`` in a new process, as it is: POST /load_model, then a first token."""

    name = "transf. serve"

    def __init__(self, python: Path, folder: Path) -> None:
        self._folder = str(folder)
        self._command = [str(python.parent / "transformers"), "serve", "--host", "127.0.0.1", "--port"]
        self._start()

    def run(self) -> float:
        began = time.monotonic()
        response = requests.post(f"{self._url}/load_model", json={"model": self._folder}, timeout=300)
        assert '"status": "ready"' in response.text, response.text
        body = {"model": self._folder, "prompt": "a", "max_tokens": 1}
        requests.post(f"{self._url}/v1/completions", json=body, timeout=300).raise_for_status()
        return time.monotonic() - began

    def rest(self) -> None:
        self.close()
        self._start()

    def close(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _start(self) -> None:
        port = free_port()
        self._url = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen(
            [*self._command, str(port)],
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.tree = self._process.pid
        while True:
            try:
                requests.get(f"{self._url}/health", timeout=5)
                return
            except requests.ConnectionError:
                assert self._process.poll() is None, "transformers serve did not start"
                time.sleep(0.1)


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def processor_seconds(pid: int) -> float:
    """Processor time of a tree so far, that of children that have ended and were reaped included."""
    total = 0.0
    for process in _family(pid):
        try:
            times = process.cpu_times()
        except MAY_FAIL:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


@contextmanager
def peak_memory(pid: int) -> Iterator[list[float]]:
    """Samples the memory (PSS) of a tree: [bytes before, highest since]. Slows what it measures."""
    found = [float(sum(process_memory(process.pid).total for process in _family(pid)))] * 2
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(0.01):
            try:
                found[1] = max(found[1], sum(process_memory(process.pid).total for process in _family(pid)))
            except MAY_FAIL:
                continue

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()
