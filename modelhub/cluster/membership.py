"""This machine as part of a Ray cluster: what ``modelhub node`` starts, watches over and ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from importlib.util import find_spec
from types import FrameType

import psutil

from modelhub.cluster.wire import LABEL, NODE_COMMAND, RESOURCE
from modelhub.workers.environment import python_path
from modelhub.workers.lifeline import adopt_orphans, name_process

_START_S = 60.0
_LOOK_S = 0.2
_AGAIN_S = 1.0
_LEAVE_S = 3.0
_END_S = 10.0
# Objects are small: parts of what workers say. Ray's least is 75 MB.
_STORE_BYTES = 80_000_000
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_metrics_collection": "0",
    # It would end the agent where memory runs short, and with it every model of the node.
    "RAY_memory_monitor_refresh_ms": "0",
    # Ray lets its workers give way, as modelhub's own do; what forks them must not.
    "RAY_worker_niceness": "0",
    # Where memory runs out, the process of one model goes, not the one that has started all of them.
    "RAY_worker_oom_score_adjustment": "0",
    # There is nothing to wait for: the server has been told before, or whoever ends this is in a hurry.
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
}
_AUTH_SETTING = "RAY_AUTH_MODE=token"  # who joins a head has to be told, by Ray's rules
# How soon the head gives a node up: one that has died after a second, since it refuses to be asked five times
# in a row; one that does not answer after six, since each of the five questions waits for a second.
_HEAD_SETTINGS = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "200",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "5",
}


class NotJoined(Exception):
    """Ray is not installed, or has not started; the text says why."""


class Membership:
    """``address`` is that of the head; None where this machine is the head, which listens at ``port``.

    ``models``: whether models are loaded here.
    """

    def __init__(self, name: str, address: str | None, port: int, models: bool = True) -> None:
        self._name = name
        self._address = address
        self._port = port
        self._models = models
        self._ending = threading.Event()

    def run(self) -> int:
        """Be part of the cluster until SIGTERM or SIGINT; returns the exit status.

        Where Ray ends by itself here, as it does on a machine that was cut off, this joins again. Raises
        NotJoined where it could not the first time.
        """
        if find_spec("ray") is None:
            raise NotJoined("Ray is not installed. Run: pip install -r requirements-cluster.txt")
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        adopt_orphans()  # what Ray starts here is then below this process
        name_process(NODE_COMMAND, f"modelhub: node {self._name}")
        is_first = True
        while not self._ending.is_set():
            try:
                self._start()
                self._greet()
                self._watch()
            except NotJoined as error:
                if is_first:
                    raise
                print(error, flush=True)
            finally:
                _end_all()
            is_first = False
            if not self._ending.is_set():
                self._forget_address()
                print("This machine is no longer part of the cluster; it joins again.", flush=True)
                self._ending.wait(_AGAIN_S)
        return 0

    def _forget_address(self) -> None:
        """Let a head that has ended begin again: its nodes on this machine look to Ray as if it ran."""
        if self._address is None:
            folder = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(folder, "ray", "ray_current_cluster"))

    def command(self) -> list[str]:
        """What starts Ray here."""
        common = [
            *("--include-log-monitor=false", "--disable-usage-stats"),
            *("--num-cpus=0", f"--object-store-memory={_STORE_BYTES}"),
        ]
        place = [f"--address={self._address}"]
        if self._address is None:
            place = ["--head", f"--port={self._port}", "--memory=0", "--include-dashboard=false"]
        node = [f"--resources={json.dumps({RESOURCE: 1})}", f"--labels={LABEL}={self._name}"]
        start = [sys.executable, "-P", "-m", "ray.scripts.scripts", "start"]
        return [*start, *place, *common, *(node if self._models else ())]

    def environment(self) -> dict[str, str]:
        """That of Ray here, which the agent and the models inherit; what is set already stays."""
        settings = {**_SETTINGS, **(_HEAD_SETTINGS if self._address is None else {})}
        return {**settings, **os.environ, "PYTHONPATH": python_path()}

    def _start(self) -> None:
        """Have Ray start here; raises NotJoined. Returns early where this is to end."""
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                self.command(), env=self.environment(), stdout=output, stderr=output, start_new_session=True
            )
            waited_s = 0.0
            while process.poll() is None and not self._ending.wait(_LOOK_S):
                waited_s += _LOOK_S
                if waited_s > _START_S:
                    process.kill()
            if process.poll() != 0 and not self._ending.is_set():
                raise NotJoined(f"Ray did not start here: {_last_line(os.pread(output.fileno(), 2**20, 0))}")

    def _watch(self) -> None:
        """Wait until this is to end, or Ray has ended here. The main process of a head is started again."""
        raylet, main = _child("raylet"), _Main.find()
        while raylet is not None and not _has_ended(raylet) and not self._ending.wait(_LOOK_S):
            _reap()
            if main is not None and _has_ended(main.process):
                main.start_again()
                print("Ray's main process has ended, and was started again.", flush=True)

    def _greet(self) -> None:
        part = f"It loads models as {self._name}." if self._models else "It loads no models."
        print(f"This machine is part of the cluster. {part} Ctrl-C ends that.", flush=True)
        if self._address is None:
            setting = f"{_AUTH_SETTING} " if _asks_for_token() else ""
            print(f"Others join with: {setting}modelhub node --address THIS_HOST:{self._port}", flush=True)
            if setting:
                print(f"They and the server need Ray's token, and {_AUTH_SETTING}.", flush=True)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._ending.set()


class _Main:
    """Ray's main process, the GCS, which only the head has.

    Nodes and their models outlive it where it keeps what it knows in a Redis.
    """

    def __init__(self, process: psutil.Process) -> None:
        self.process = process
        self._command, self._environ, self._cwd = process.cmdline(), process.environ(), process.cwd()

    @classmethod
    def find(cls) -> _Main | None:
        """That of this machine."""
        process = _child("gcs_server")
        return None if process is None else cls(process)

    def start_again(self) -> None:
        """Start it as Ray has started it."""
        with contextlib.suppress(psutil.Error):
            self.process.wait(0)
        null = subprocess.DEVNULL
        again = subprocess.Popen(self._command, env=self._environ, cwd=self._cwd, stdout=null, stderr=null)
        self.process = psutil.Process(again.pid)


def _asks_for_token() -> bool:
    """Whether the cluster of a head that starts here asks for Ray's token: where it finds one, it does."""
    if (mode := os.environ.get("RAY_AUTH_MODE")) is not None:
        return mode.lower() == "token"
    is_given = "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ
    return is_given or os.path.exists(os.path.expanduser("~/.ray/auth_token"))


def _child(name: str) -> psutil.Process | None:
    """The process that Ray has started here under this name."""
    return next((one for one in psutil.Process().children() if one.name() == name), None)


def _has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _reap() -> None:
    """Reap what agents that have ended have left here: this process is the parent of it now."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _end_all() -> None:
    """End Ray and all that it has started here, and wait for that."""
    raylet = _child("raylet")
    if raylet is not None:  # it says that it leaves
        with contextlib.suppress(psutil.Error):
            raylet.terminate()
            raylet.wait(_LEAVE_S)
    while family := [one for one in psutil.Process().children(recursive=True) if not _has_ended(one)]:
        for one in family:  # of one that has ended, the children are this process's now
            with contextlib.suppress(psutil.Error):
                one.kill()
        psutil.wait_procs(family, _END_S)


def _last_line(said: bytes) -> str:
    """What Ray has said at last: the error, without where in its code that was."""
    lines = said.decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "it has not said why"
