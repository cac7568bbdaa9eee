"""SIGTERM: no new loads, everybody is told, every process ends, and all of it within ten seconds."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import requests

from modelhub.core.journal import Journal
from tests.support.ids import BERT, DEMO, LLAMA, SPEECH, VIT
from tests.support.rawsocket import RawWatcher
from tests.support.server import Server, wait_until
from tests.support.subscribers import storm
from tests.support.types import StartServer

LIMIT_S = 10.0


class Asking(threading.Thread):
    """Asks for a load over and over, by one connection, until the server is gone; keeps what it answers."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self.answers: list[tuple[float, int, str]] = []
        self._url = f"{server.url}/api/loads"

    def run(self) -> None:
        """Until it is gone."""
        with requests.Session() as session:
            while True:
                try:
                    response = session.post(self._url, json={"model": LLAMA}, timeout=20)
                except requests.RequestException:
                    return
                code = (response.json()["error"] or {}).get("code", "")
                self.answers.append((time.monotonic(), response.status_code, code))


def predict(server: Server, outcomes: list[Any]) -> None:
    """One prediction, and how it went."""
    try:
        outcomes.append(server.post("/api/predictions", {"model": BERT, "inputs": "[MASK]"}).status_code)
    except requests.RequestException as error:
        outcomes.append(error)


def end(server: Server, signals: int = 1) -> float:
    """Send SIGTERM, more than once; returns how many seconds it took to end."""
    assert server.process is not None
    began = time.monotonic()
    for _ in range(signals):
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.02)
    status = server.process.wait(60)
    took_s = time.monotonic() - began
    assert status == 0, server.log()[-3000:]
    return took_s


def last_words(watcher: RawWatcher) -> list[tuple[str, dict[str, Any]]]:
    """The events that a watcher gets until the server has ended."""
    found = []
    try:
        while True:
            message = watcher.next()
            if message.startswith(b"42["):
                found.append(tuple(json.loads(message[2:])))
    except (AssertionError, ConnectionResetError):
        watcher.close()
    return found


def test_a_server_in_full_use_ends_in_time_and_says_so_to_everybody(start_server: StartServer) -> None:
    server = start_server(MAX_CONCURRENT_LOADS=1, STALL_SECONDS=1).wait_warm()
    assert server.load(LLAMA)["state"] == "ready"
    assert server.load(BERT)["state"] == "ready"
    for worker in server.workers():
        worker.suspend()
    server.wait_spare()
    frozen = server.freeze_load(DEMO)
    waiting = [server.request_load(model_id)["load_id"] for model_id in (VIT, SPEECH)]
    loading = server.snapshot(DEMO)["load_id"]
    watchers = [RawWatcher(server.port) for _ in range(50)]
    for watcher in watchers:
        assert watcher.subscribe(DEMO)["snapshot"]["state"] == "loading"
    deaf = RawWatcher(server.port, buffer=4096)
    deaf.subscribe(DEMO)
    outcomes: list[Any] = []
    threading.Thread(target=predict, args=(server, outcomes), daemon=True).start()
    asking = [Asking(server) for _ in range(2)]
    for thread in asking:
        thread.start()
    wait_until(lambda: all(thread.answers for thread in asking))
    children = psutil.Process(server.pid).children(recursive=True)
    assert frozen in children

    assert end(server, signals=3) < LIMIT_S

    for watcher in watchers:
        told = dict(last_words(watcher))
        assert told["server_stopping"]["code"] == "shutting_down"
        assert told["model_load_failed"]["state"] == "interrupted"
        assert told["model_load_failed"]["error"]["code"] == "interrupted"
    deaf.close()
    for thread in asking:
        thread.join(30)
        answers = [(status, code) for _, status, code in thread.answers]
        assert set(answers) <= {(200, ""), (503, "shutting_down")}, answers
        assert answers == sorted(answers)  # once refused, always refused
    assert any(thread.answers[-1][1] == 503 for thread in asking)
    wait_until(lambda: len(outcomes) == 1)
    wait_until(lambda: not any(is_alive(child) for child in children), 2)
    journal = Journal(server.data_dir, keep_loads=1000)
    try:
        states = [journal.load(load_id)["state"] for load_id in (loading, *waiting)]  # type: ignore[index]
        assert states == ["interrupted"] * 3
    finally:
        journal.close()
    assert "Traceback" not in server.log(), server.log()[-5000:]


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs, and is no zombie that its reaper has yet to see."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_servers_in_a_storm_of_subscribers_hear_the_first_signal(tmp_path: Path, models_dir: Path) -> None:
    rng = random.Random(11)
    for number in range(8):
        server = Server(tmp_path / str(number), MODELS_DIR=models_dir).start()
        try:
            with storm(server.port, LLAMA) as subscribers:
                enough = rng.randrange(20, 200)
                wait_until(lambda s=subscribers, n=enough: s.count > n)
                children = psutil.Process(server.pid).children(recursive=True)
                assert end(server) < LIMIT_S
            assert not any(is_alive(child) for child in children)
            assert "Traceback" not in server.log(), server.log()[-5000:]
        finally:
            server.kill()
