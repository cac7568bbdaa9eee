"""The processes that modelhub is measured against."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import requests

from tests.support.server import ROOT, free_port


class Process:
    """A process that says "ready" once, and then answers each line with a number."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            arguments,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline().strip() == "ready", f"{arguments} did not start"

    def ask(self, line: str = "") -> float:
        """The number that it answers with."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


def of_module(name: str, *arguments: str) -> Process:
    """A module of this folder as a process."""
    return Process(sys.executable, "-m", f"{__package__}.{name}", *arguments)


def raw_read(mode: str, paths: list[Path]) -> float:
    """Seconds of a read of files; see raw_read.py."""
    script = Path(__file__).with_name("raw_read.py")
    done = subprocess.run(
        [sys.executable, "-I", str(script), mode, *map(str, paths)],
        check=True,
        capture_output=True,
        text=True,
    )
    return float(done.stdout)


def fresh_process(folder: Path) -> float:
    """Seconds of a new Python process that imports, loads, and ends."""
    began = time.monotonic()
    arguments = [sys.executable, "-m", f"{__package__}.peer", str(folder)]
    subprocess.run(arguments, cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
    return time.monotonic() - began


class Serve:
    """``transformers serve``, in a new process for each load: POST /load_model, then a first token."""

    def __init__(self, python: Path, folder: Path, *options: str) -> None:
        self._folder = str(folder)
        self._command = [str(python.parent / "transformers"), "serve", *options]
        self._start()

    def load(self) -> float:
        """Seconds of a load; it is ready for another one afterwards."""
        began = time.monotonic()
        response = requests.post(f"{self.url}/load_model", json={"model": self._folder}, timeout=300)
        assert '"status": "ready"' in response.text, response.text
        body = {"model": self._folder, "prompt": "a", "max_tokens": 1}
        requests.post(f"{self.url}/v1/completions", json=body, timeout=300).raise_for_status()
        seconds = time.monotonic() - began
        self.close()
        self._start()
        return seconds

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def close(self) -> None:
        """End it."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _start(self) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen(
            [*self._command, "--host", "127.0.0.1", "--port", str(port)],
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while True:
            try:
                requests.get(f"{self.url}/health", timeout=5)
                return
            except requests.ConnectionError:
                assert self._process.poll() is None, "transformers serve did not start"
                time.sleep(0.1)
