"""A real modelhub server process, for tests."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import requests

SPARE = "modelhub-spare"
KEPT = "modelhub-kept"
WORKERS = ("modelhub-worker", SPARE)
# As another user, who may read what only root may: the environment, and the folders of the tests.
_WITHOUT_PRIVILEGES = [
    *("setpriv", "--reuid=65534", "--clear-groups", "--inh-caps=-all,+dac_override"),
    *("--ambient-caps=-all,+dac_override", "--bounding-set=-all,+dac_override"),
]
ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    """A free port."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Server:
    """``python wsgi.py`` with a data folder of its own; ``settings`` are MODELHUB_* without the prefix.

    Nothing is kept prepared unless a test asks for it, so that each load has a process of the zygote.
    ``unprivileged``: the limits that the system sets for users hold for it too, also where root runs it.
    """

    def __init__(
        self,
        data_dir: Path,
        environ: dict[str, str] | None = None,
        *,
        unprivileged: bool = False,
        **settings: Any,
    ) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = data_dir / "server.log"
        data_dir.mkdir(parents=True, exist_ok=True)
        # COLUMNS would override the width of a pseudo-terminal.
        ignored = ("MODELHUB_", "COLUMNS")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(ignored)}
        clean |= {"HF_HOME": str(data_dir / "hf"), "HF_HUB_OFFLINE": "1", **(environ or {})}
        given = {"DATA_DIR": data_dir, "PORT": self.port, "KEEP_PREPARED_SECONDS": 0, **settings}
        self.environ = clean | {f"MODELHUB_{name}": str(value) for name, value in given.items()}
        self.python = sys.executable
        self.prefix = _WITHOUT_PRIVILEGES if unprivileged and os.getuid() == 0 else []
        self.command = ["wsgi.py"]
        self.cwd = ROOT
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Server:
        """Start it and wait until it listens; the first request is the test's."""
        log = self.log_path.open("ab")
        self.process = subprocess.Popen(
            [*self.prefix, self.python, *self.command],
            cwd=self.cwd,
            env=self.environ,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                return self
            except ConnectionRefusedError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.02)
        raise AssertionError(f"The server did not start:\n{self.log()}")

    def start_refused(self) -> None:
        """Start it, and wait until it has ended by itself, since it cannot serve."""
        with self.log_path.open("wb") as log:
            command = [*self.prefix, self.python, *self.command]
            done = subprocess.run(
                command, cwd=self.cwd, env=self.environ, stdout=log, stderr=log, timeout=30, check=False
            )
        assert done.returncode != 0, self.log()

    def wait_warm(self, timeout_s: float = 60) -> Server:
        """Wait until loads start at once."""
        wait_until(
            lambda: requests.get(f"{self.url}/readyz", timeout=5).json()["workers"]["state"] == "warm",
            timeout_s,
        )
        return self

    @property
    def pid(self) -> int:
        """The process id of the web process."""
        assert self.process is not None
        return self.process.pid

    def log(self) -> str:
        """What it has written so far."""
        return self.log_path.read_text(errors="replace")

    def kill(self) -> None:
        """Kill it."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """Send SIGTERM, and return its exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def handles(self) -> list[str]:
        """What the open handles of the web process lead to."""
        found = []
        for entry in Path(f"/proc/{self.pid}/fd").iterdir():
            with suppress(OSError):  # it may be closed at any time
                found.append(os.readlink(entry))
        return found

    # Its processes

    def zygote(self) -> psutil.Process:
        """The parent of all workers."""
        found: list[psutil.Process] = []

        def appeared() -> bool:  # for a moment, a child has the command line of the server
            found.clear()
            for process in psutil.Process(self.pid).children():
                with suppress(psutil.NoSuchProcess):
                    if any("zygote" in part for part in process.cmdline()):
                        found.append(process)
            return bool(found)

        wait_until(appeared)
        (process,) = found
        return process

    def workers(self) -> list[psutil.Process]:
        """The processes that hold or load a model: not those that wait for a load, or keep one prepared."""
        found = []
        for process in psutil.Process(self.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # it may end at any time
                waits = process.name() == SPARE and process.status() != psutil.STATUS_STOPPED
                if process.name() in WORKERS and not waits:
                    found.append(process)
        return found

    def process_of(self, model_id: str) -> psutil.Process:
        """The process that has a model."""
        found = []
        for process in self.workers():
            with suppress(psutil.NoSuchProcess):
                if " ".join(process.cmdline()).strip() == f"modelhub: {model_id}":
                    found.append(process)
        (process,) = found
        return process

    def kept(self) -> list[psutil.Process]:
        """The processes that keep a model prepared."""
        found = []
        for process in psutil.Process(self.pid).children():
            with suppress(psutil.NoSuchProcess):
                if process.name() == KEPT:
                    found.append(process)
        return found

    def spare(self) -> psutil.Process | None:
        """The process that is ready for the next load."""
        pid = self.get("/readyz").json()["workers"]["spare"]
        with suppress(psutil.NoSuchProcess):  # it may end at any time
            return None if pid is None else psutil.Process(pid)
        return None

    def wait_spare(self) -> psutil.Process:
        """Wait until a process is ready for the next load."""
        found: list[psutil.Process | None] = []

        def appeared() -> bool:
            found[:] = [self.spare()]
            return found[0] is not None

        wait_until(appeared)
        assert found[0] is not None
        return found[0]

    def freeze_load(self, model_id: str) -> psutil.Process:
        """Ask for a load and stop its process (SIGSTOP) once it has reported a step: truly stuck."""
        for _ in range(5):
            spare = self.spare()
            frozen = self._freeze_new(model_id) if spare is None else self._freeze_spare(spare, model_id)
            while self.snapshot(model_id)["step"] is None:
                let_run(frozen, 0.002)
            if self.snapshot(model_id)["state"] == "loading":
                return frozen
            frozen.resume()  # it was quicker
            self.wait_state(model_id, ("ready",))
            self.delete(f"/api/models/{model_id}")
        raise AssertionError("it went too fast to be stopped")

    def freeze_begun(self, model_id: str) -> psutil.Process:
        """As ``freeze_load``, once the process itself has reported: if it ends now, none takes its place."""
        process = self.freeze_load(model_id)
        while self.snapshot(model_id)["step"] == 1:
            let_run(process, 0.002)
        return process

    def kill_load(self, model_id: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Load a model and end its process once it has begun: before, another one would take its place."""
        process = self.freeze_begun(model_id)
        process.send_signal(number)
        with suppress(psutil.NoSuchProcess):
            process.resume()
        assert self.wait_state(model_id, ("failed", "ready"))["state"] == "failed"

    def _freeze_spare(self, spare: psutil.Process, model_id: str) -> psutil.Process:
        spare.suspend()
        self.request_load(model_id)
        return spare

    def _freeze_new(self, model_id: str) -> psutil.Process:
        before = {process.pid for process in self.workers()}
        self.request_load(model_id)
        found: list[psutil.Process] = []

        def appeared() -> bool:  # with its second thread it is past what ties it to its parent
            found[:] = [p for p in self.workers() if p.pid not in before and p.num_threads() > 1]
            return bool(found)

        wait_until(appeared, 10)
        found[0].suspend()
        return found[0]

    # REST in short

    def get(self, path: str, **keywords: Any) -> requests.Response:
        """GET below the server's address."""
        return requests.get(self.url + path, timeout=30, **keywords)

    def delete(self, path: str) -> requests.Response:
        """DELETE below the server's address."""
        return requests.delete(self.url + path, timeout=30)

    def post(self, path: str, body: Any) -> requests.Response:
        """POST JSON below the server's address."""
        return requests.post(self.url + path, json=body, timeout=120)

    def request_load(self, model_id: str, **more: Any) -> dict[str, Any]:
        """Ask for a load; returns its resource."""
        response = self.post("/api/loads", {"model": model_id, **more})
        assert response.ok, response.text
        return dict(response.json())

    def load(self, model_id: str, timeout_s: float = 90, **more: Any) -> dict[str, Any]:
        """Load a model and wait for its end; returns the model's snapshot."""
        self.request_load(model_id, **more)
        return self.wait_state(model_id, ("ready", "failed", "cancelled"), timeout_s)

    def snapshot(self, model_id: str) -> dict[str, Any]:
        """The model's full state."""
        return dict(self.get(f"/api/models/{model_id}").json()["snapshot"])

    def wait_state(self, model_id: str, states: tuple[str, ...], timeout_s: float = 90) -> dict[str, Any]:
        """Wait until the model is in one of ``states``; returns its snapshot."""
        wait_until(lambda: self.snapshot(model_id)["state"] in states, timeout_s)
        return self.snapshot(model_id)

    def unload_all(self) -> None:
        """Cancel and unload whatever is loading or in memory."""
        for model in self.get("/api/models").json()["models"]:
            if model["state"] in ("queued", "loading"):
                self.delete(f"/api/loads/{model['snapshot']['load_id']}")
            if self.snapshot(model["id"])["state"] == "ready":
                self.delete(f"/api/models/{model['id']}")


def let_run(frozen: psutil.Process, seconds: float) -> None:
    """Let a stopped process run on for a moment, and wait until the server has received what it sent."""
    frozen.resume()
    time.sleep(seconds)
    frozen.suspend()
    time.sleep(0.03)


def wait_until(condition: Any, timeout_s: float = 30) -> None:
    """Poll ``condition`` until it holds; fails after ``timeout_s`` seconds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come to hold in time"
        time.sleep(0.02)
