"""The server is killed in a load: nothing of it stays, and all is told and resumed once it is back."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import socketio

from modelhub.states import EventName
from tests.faults.support import own_server
from tests.support.ids import BERT, DEMO, LLAMA, VIT
from tests.support.invariants import check_invariants
from tests.support.server import Server, wait_until

KILLS = int(os.environ.get("MODELHUB_TEST_KILLS", "2"))
_GONE_S = 2.0


class Page:
    """A client that connects and subscribes again as the script of a page does; it keeps the newest state."""

    def __init__(self, url: str, model_id: str) -> None:
        self.snapshot: dict[str, Any] = {}
        self._model_id = model_id
        self._lock = threading.Lock()
        self.client = socketio.Client(reconnection_delay=0.1, reconnection_delay_max=0.5)
        self.client.on("connect", self._subscribe)
        for name in EventName:
            if name not in (EventName.MODELS_CHANGED, EventName.SERVER_STOPPING):
                self.client.on(name.value, self._take)
        self.client.connect(url, transports=["websocket"])
        wait_until(lambda: self.snapshot)

    def _subscribe(self) -> None:
        def take(answer: dict[str, Any]) -> None:
            self._take(answer["snapshot"], is_snapshot=True)

        self.client.emit("subscribe", {"id": self._model_id}, callback=take)

    def _take(self, snapshot: dict[str, Any], is_snapshot: bool = False) -> None:
        with self._lock:
            last = self.snapshot
            if last and last["epoch"] == snapshot["epoch"] and snapshot["seq"] < last["seq"]:
                return
            self.snapshot = snapshot
        if not is_snapshot and last and last["epoch"] != snapshot["epoch"]:
            self._subscribe()

    def agrees_with(self, server: Server) -> bool:
        """Whether it shows what the server says now."""
        now = server.snapshot(self._model_id)
        names = ("epoch", "seq", "state", "load_id")
        return all(self.snapshot[name] == now[name] for name in names)


@pytest.fixture(scope="module")
def server(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that is killed and comes back."""
    running = own_server(tmp_path_factory.mktemp("killed"), MODELS_DIR=models_dir).start()
    yield running
    running.stop()


def _kill(server: Server) -> None:
    """Kill it, and see that all of its processes end."""
    family = psutil.Process(server.pid).children(recursive=True)
    server.kill()
    _, alive = psutil.wait_procs(family, timeout=_GONE_S)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


def _restart(server: Server, **settings: str) -> None:
    server.environ |= {f"MODELHUB_{name}": value for name, value in settings.items()}
    server.start()


def test_a_server_that_is_killed_in_a_load_leaves_no_process_and_its_watchers_see_how_that_ended(
    server: Server,
) -> None:
    server.wait_warm().unload_all()
    moments = random.Random()
    most_s = 0.4
    pages = [Page(server.url, model_id) for model_id in (DEMO, DEMO, LLAMA)]
    epochs = {server.snapshot(DEMO)["epoch"]}
    try:
        for _ in range(KILLS):
            load = server.request_load(DEMO)
            time.sleep(moments.uniform(0, most_s))  # a random moment is what is tested
            most_s = 4.0  # a server that has just started imports first
            state = server.get(f"/api/loads/{load['load_id']}").json()["state"]
            _kill(server)
            _restart(server, RESUME="off")
            row = server.get(f"/api/loads/{load['load_id']}").json()
            # It may have become ready just before the kill.
            assert row["state"] in ("interrupted", "unloaded")[state == "ready" :]
            snapshot = server.snapshot(DEMO)
            assert snapshot["state"] == ("interrupted" if row["state"] == "interrupted" else "absent")
            assert snapshot["epoch"] not in epochs
            epochs.add(snapshot["epoch"])
            wait_until(lambda: all(page.agrees_with(server) for page in pages))
        assert server.load(DEMO)["state"] == "ready"
        wait_until(lambda: all(page.agrees_with(server) for page in pages))
        assert pages[0].snapshot["state"] == "ready"
        check_invariants(server)
    finally:
        for page in pages:
            page.client.disconnect()


def test_with_resume_what_was_ready_loading_or_waiting_is_loaded_again_and_no_load_a_third_time(
    server: Server,
) -> None:
    server.wait_warm().unload_all()
    assert server.load(VIT)["state"] == "ready"
    server.freeze_load(DEMO)
    for model_id in (LLAMA, BERT):
        server.request_load(model_id)
    _kill(server)
    _restart(server, RESUME="on")
    # What was requested first comes first, and waits for the imports: it is killed there.
    wait_until(lambda: server.snapshot(VIT)["state"] == "loading")
    resumed = [(load["model_id"], load["by"]) for load in server.get("/api/loads?limit=4").json()["loads"]]
    assert resumed == [(model_id, "resume") for model_id in (BERT, LLAMA, DEMO, VIT)]
    _kill(server)
    _restart(server)
    for model_id in (DEMO, LLAMA, BERT):
        assert server.wait_state(model_id, ("ready", "failed"))["state"] == "ready"
    assert server.snapshot(VIT)["state"] == "interrupted", "it may be what has ended the server"

    # The same after SIGTERM; what was unloaded is not loaded again.
    for model_id in (DEMO, BERT):
        server.delete(f"/api/models/{model_id}")
    server.stop()
    _restart(server)
    assert server.wait_state(LLAMA, ("ready", "failed"))["state"] == "ready"
    assert server.snapshot(BERT)["state"] == server.snapshot(DEMO)["state"] == "absent"
    assert server.load(VIT)["state"] == "ready", "a person may load it"
    check_invariants(server)
