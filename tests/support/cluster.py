"""A Ray cluster on this machine: a head, and nodes that load models, as real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from tests.support.redis_server import RedisServer
from tests.support.server import ROOT, free_port

_JOIN_S = 60.0
_COMMAND = "from modelhub.cli.command import main; main()"


class NodeCommand:
    """``modelhub node`` with settings of its own; ``name`` is None for a head that loads no models."""

    def __init__(
        self, folder: Path, name: str | None, *options: str, cwd: Path = ROOT, **environ: str
    ) -> None:
        self.name = name
        self.folder = folder
        self.log_path = folder / "node.log"
        folder.mkdir(parents=True, exist_ok=True)
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("MODELHUB_", "RAY_"))}
        settings = {"MODELHUB_DATA_DIR": str(folder / "data"), "MODELHUB_NODE": name or "head"}
        self._environ = {**clean, "HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "1", **settings, **environ}
        self._options = options
        self._cwd = cwd  # where its modelhub is
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> NodeCommand:
        """Start it, and wait until this machine is part of the cluster."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _COMMAND, "node", *self._options],
                cwd=self._cwd,
                env=self._environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + _JOIN_S
        while "is part of the cluster" not in self.log():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)
        return self

    def log(self) -> str:
        """What it has written."""
        return self.log_path.read_text(errors="replace")

    def family(self) -> list[psutil.Process]:
        """It and everything below it: Ray, the agent, the zygote, the workers."""
        assert self.process is not None
        with suppress(psutil.NoSuchProcess):
            command = psutil.Process(self.process.pid)
            return [command, *command.children(recursive=True)]
        return []

    def named(self, name: str) -> list[psutil.Process]:
        """The processes of the family with this name."""
        found = []
        for one in self.family():
            with suppress(psutil.NoSuchProcess):
                if one.name() == name:
                    found.append(one)
        return found

    def kill(self) -> float:
        """Kill all of it at once, as a machine that loses its power; returns when, on the monotonic clock."""
        family = self.family()
        killed_at = time.monotonic()
        for one in family:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(family, 10)
        if self.process is not None:
            self.process.wait(10)
        return killed_at

    def freeze(self) -> list[psutil.Process]:
        """Stop all of it, as a machine that nobody reaches any more; returns the processes."""
        family = self.family()
        for one in family:
            with suppress(psutil.NoSuchProcess):
                one.suspend()
        return family

    def stop(self) -> int:
        """End it as Ctrl-C does; returns its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(20)
        finally:
            self.kill()


class Cluster:
    """A head and nodes; all of it has ended after ``close``."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._folder = folder
        self._environ = {"RAY_TMPDIR": str(folder), **environ}
        self.commands: list[NodeCommand] = []
        self._redis = RedisServer()  # what Ray's main process knows is kept there

    def start_head(self) -> NodeCommand:
        """Begin the cluster, on a machine that loads no models."""
        self._redis.start()
        options = ("--head", f"--port={self.port}", "--no-models")
        return self._start(None, *options, RAY_REDIS_ADDRESS=f"127.0.0.1:{self._redis.port}")

    def start_node(self, name: str, cwd: Path = ROOT, **environ: str) -> NodeCommand:
        """Have a node join, with the modelhub that is in ``cwd``."""
        return self._start(name, f"--address={self.address}", cwd=cwd, **environ)

    def close(self) -> None:
        """End all of it."""
        for command in reversed(self.commands):
            command.kill()
        if self._redis.process is not None:
            self._redis.kill()

    def _start(self, name: str | None, *options: str, cwd: Path = ROOT, **environ: str) -> NodeCommand:
        folder = self._folder / (name or "head")
        command = NodeCommand(folder, name, *options, cwd=cwd, **{**self._environ, **environ})
        self.commands.append(command)
        return command.start()


def all_gone(processes: list[psutil.Process]) -> bool:
    """Whether none of these runs any more."""
    return not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in processes)


def wait_for(condition: Callable[[], Any], timeout_s: float = 30.0) -> float:
    """Poll until the condition holds; returns how many seconds that took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < timeout_s, "the condition did not come to hold in time"
        time.sleep(0.01)
    return time.monotonic() - started
