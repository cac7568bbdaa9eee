"""A real modelhub server process and a real Socket.IO client, for tests."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import requests
import socketio

SPARE = "modelhub-spare"
ROOT = Path(__file__).resolve().parents[2]
EVENTS = (
    "model_load_queued",
    "model_load_started",
    "model_load_progress",
    "model_load_completed",
    "model_load_failed",
    "model_load_cancelled",
    "model_unloaded",
)
TERMINAL = ("model_load_completed", "model_load_failed", "model_load_cancelled")


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Server:
    """``python wsgi.py`` with a data folder of its own; ``settings`` are MODELHUB_* without the prefix."""

    def __init__(self, data_dir: Path, environ: dict[str, str] | None = None, **settings: Any) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = data_dir / "server.log"
        data_dir.mkdir(parents=True, exist_ok=True)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("MODELHUB_")}
        clean |= {"HF_HOME": str(data_dir / "hf"), "HF_HUB_OFFLINE": "1", **(environ or {})}
        given = {"DATA_DIR": data_dir, "PORT": self.port, **settings}
        self.environ = clean | {f"MODELHUB_{name}": str(value) for name, value in given.items()}
        self.python = sys.executable
        self.command = ["wsgi.py"]
        self.cwd = ROOT
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Server:
        """Start it and wait until it listens; the first request is the test's."""
        log = self.log_path.open("ab")
        self.process = subprocess.Popen(
            [self.python, *self.command],
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
        """Pull the plug."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """Ask it to end, and answer its exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    # Its processes

    def zygote(self) -> psutil.Process:
        """The parent of all workers."""
        (process,) = psutil.Process(self.pid).children()
        return process

    def workers(self) -> list[psutil.Process]:
        """The processes that hold or load a model: not the one that waits for a load."""
        children = self.zygote().children()
        return [p for p in children if p.name() != SPARE or p.status() == psutil.STATUS_STOPPED]

    def spare(self) -> psutil.Process | None:
        """The process that is ready for the next load."""
        pid = self.get("/readyz").json()["workers"]["spare"]
        return None if pid is None else psutil.Process(pid)

    def wait_spare(self) -> psutil.Process:
        """Wait until a process is ready for the next load."""
        wait_until(lambda: self.spare() is not None)
        spare = self.spare()
        assert spare is not None
        return spare

    def freeze_load(self, model_id: str) -> psutil.Process:
        """Ask for a load and stop its process (SIGSTOP) once it has told a step: truly stuck."""
        for _ in range(5):
            spare = self.spare()
            frozen = self._freeze_new(model_id) if spare is None else self._freeze_spare(spare, model_id)
            while self.snapshot(model_id)["step"] is None:
                frozen.resume()
                time.sleep(0.002)
                frozen.suspend()
                time.sleep(0.02)  # until the server has what it said
            if self.snapshot(model_id)["state"] == "loading":
                return frozen
            frozen.resume()  # it was quicker
            self.wait_state(model_id, ("ready",))
            self.delete(f"/api/models/{model_id}")
        raise AssertionError("it went too fast to be stopped")

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
        """Ask for a load; answers its resource."""
        response = self.post("/api/loads", {"model": model_id, **more})
        assert response.ok, response.text
        return dict(response.json())

    def load(self, model_id: str, timeout_s: float = 90) -> dict[str, Any]:
        """Load a model and wait for its end; answers the model's snapshot."""
        self.request_load(model_id)
        return self.wait_state(model_id, ("ready", "failed", "cancelled"), timeout_s)

    def snapshot(self, model_id: str) -> dict[str, Any]:
        """The model's full state."""
        return dict(self.get(f"/api/models/{model_id}").json()["snapshot"])

    def wait_state(self, model_id: str, states: tuple[str, ...], timeout_s: float = 90) -> dict[str, Any]:
        """Wait until the model is in one of ``states``; answers its snapshot."""
        wait_until(lambda: self.snapshot(model_id)["state"] in states, timeout_s)
        return self.snapshot(model_id)

    def unload_all(self) -> None:
        """Cancel and unload whatever is under way or in memory."""
        for model in self.get("/api/models").json()["models"]:
            if model["state"] in ("queued", "loading"):
                self.delete(f"/api/loads/{model['snapshot']['load_id']}")
            if self.snapshot(model["id"])["state"] == "ready":
                self.delete(f"/api/models/{model['id']}")


class Watcher:
    """A Socket.IO client over a real WebSocket that keeps every event it gets, in order."""

    def __init__(self, url: str, transports: tuple[str, ...] = ("websocket",)) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.times: list[float] = []
        self._news = threading.Condition()
        self.client = socketio.Client(reconnection=False)
        for name in EVENTS:
            self.client.on(name, self._keeper(name))
        self.client.connect(url, transports=list(transports))

    def subscribe(self, model_id: str | None = None) -> dict[str, Any]:
        """Join a model's room, or the dashboard's; answers the acknowledgement."""
        answer = self.client.call("subscribe", {} if model_id is None else {"id": model_id}, timeout=20)
        return dict(answer)

    def wait_for(self, *names: str, model_id: str | None = None, timeout_s: float = 90) -> dict[str, Any]:
        """Wait for an event of one of these names; answers the newest payload of them."""

        def found() -> list[dict[str, Any]]:
            return [p for name, p in self.events if name in names and model_id in (None, p["id"])]

        with self._news:
            assert self._news.wait_for(lambda: bool(found()), timeout_s), f"no {names} in {self.names()}"
            return found()[-1]

    def wait_until(self, condition: Any, timeout_s: float = 90) -> None:
        """Wait until ``condition(events)`` holds."""
        with self._news:
            assert self._news.wait_for(lambda: condition(self.events), timeout_s), self.names()

    def names(self) -> list[str]:
        """The names of the events so far."""
        return [name for name, _ in self.events]

    def of(self, model_id: str) -> list[tuple[str, dict[str, Any]]]:
        """The events of one model so far."""
        return [(name, payload) for name, payload in self.events if payload["id"] == model_id]

    def close(self) -> None:
        """Leave."""
        self.client.disconnect()

    def _keeper(self, name: str) -> Any:
        def keep(payload: dict[str, Any]) -> None:
            with self._news:
                place = len(self.events)
                for index in range(
                    place - 1, -1, -1
                ):  # the client hands events out in threads: put them in order
                    earlier = self.events[index][1]
                    if earlier["id"] == payload["id"] and earlier["epoch"] == payload["epoch"]:
                        if earlier["seq"] < payload["seq"]:
                            break
                        place = index
                self.times.insert(place, time.monotonic())
                self.events.insert(place, (name, payload))
                self._news.notify_all()

        return keep


def wait_until(condition: Any, timeout_s: float = 30) -> None:
    """Poll ``condition`` until it holds; fails after ``timeout_s`` seconds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come to hold in time"
        time.sleep(0.02)


def check_truth(events: list[tuple[str, dict[str, Any]]]) -> None:
    """The truth rules, over the events of one load from its start to its end."""
    names = [name for name, _ in events]
    payloads = [payload for _, payload in events]
    assert names.count("model_load_started") == 1
    assert [name for name in names if name in TERMINAL] == names[-1:], (
        "exactly one terminal event, and it is the last"
    )
    assert len({payload["load_id"] for payload in payloads}) == 1
    seqs = [payload["seq"] for payload in payloads]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs))), "numbered without a gap"
    running = [p for name, p in events if name in ("model_load_started", "model_load_progress")]
    progress = [payload["progress"] for payload in running]
    assert progress == sorted(progress), "progress never goes back"
    assert all(0 <= value < 1 for value in progress), "1.0 only when completed"
    steps = [payload["step"] for payload in running]
    assert steps == sorted(steps)
    for payload in running:
        assert payload["total"] == 9
        assert payload["message"]
        assert payload["phase"]
        if payload["done"] is not None and payload["size"] is not None:
            assert 0 <= payload["done"] <= payload["size"]
    if names[-1] == "model_load_completed":
        assert payloads[-1]["progress"] == 1.0
        assert list(dict.fromkeys(steps)) == list(range(1, 10)), "all nine steps, in order"
