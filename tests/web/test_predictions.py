"""How a prediction ends that nobody waits for, or that takes too long: the model is free for the next one."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.support.ids import LLAMA
from tests.support.server import Server, wait_until

LONG = {"max_new_tokens": 8_000, "min_new_tokens": 8_000}  # a minute and a half
SHORT = {"max_new_tokens": 1}


class Client:
    """A client that has sent a prediction and has not read the response."""

    def __init__(self, server: Server, parameters: dict[str, Any]) -> None:
        body = json.dumps({"model": LLAMA, "inputs": "hello", "parameters": parameters})
        head = f"POST /api/predictions HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        self.socket.sendall((head + body).encode())

    def leave(self) -> None:
        """Close the connection."""
        self.socket.close()

    def response(self) -> tuple[int, str, dict[str, Any]]:
        """Status, head and body; waits for them."""
        with self.socket.makefile("rb") as file:
            status = int(file.readline().split()[1])
            head = b"".join(iter(file.readline, b"\r\n")).decode().lower()
            length = int(head.split("content-length:")[1].split()[0])
            return status, head, json.loads(file.read(length))


def _predict(server: Server) -> Any:
    return server.post("/api/predictions", {"model": LLAMA, "inputs": "hello", "parameters": SHORT})


@contextmanager
def _busy(server: Server) -> Iterator[psutil.Process]:
    """A context to send a prediction in, which runs when the context ends."""
    process = server.process_of(LLAMA)
    before = process.cpu_times().user
    yield process
    wait_until(lambda: process.cpu_times().user > before + 0.2)


def test_the_model_is_free_again_soon_after_its_client_has_left(empty_server: Server) -> None:
    empty_server.load(LLAMA)
    with _busy(empty_server) as process:
        running = Client(empty_server, LONG)
    waiting = [Client(empty_server, LONG) for _ in range(3)]
    began = time.monotonic()
    for client in (*waiting, running):
        client.leave()
    assert _predict(empty_server).ok
    assert time.monotonic() - began < 5, "they would have taken minutes"
    assert empty_server.process_of(LLAMA).pid == process.pid
    idle_at = process.cpu_times().user
    assert _predict(empty_server).ok
    assert process.cpu_times().user - idle_at < 2


def test_a_client_that_stays_gets_its_answer_beside_those_that_leave(empty_server: Server) -> None:
    empty_server.load(LLAMA)
    with _busy(empty_server):
        running = Client(empty_server, LONG)
    staying = Client(empty_server, SHORT)
    leaving = Client(empty_server, LONG)
    leaving.leave()
    running.leave()
    status, _, body = staying.response()
    assert (status, body["model"]) == (200, LLAMA)


@pytest.mark.parametrize(
    "parameters",
    [
        {"max_length": -5},
        {"temperature": 1e-300, "do_sample": True},
        {"max_new_tokens": 10**8},
        {"num_return_sequences": 10**6},
        {"custom_generate": "evil/code"},
        {"temperature": float("nan")},
        {"max_new_tokens": 10**4_000},
    ],
    ids=lambda parameters: next(iter(parameters)),
)
def test_what_costs_too_much_is_refused_at_once(server: Server, parameters: dict[str, Any]) -> None:
    if server.snapshot(LLAMA)["state"] != "ready":
        server.load(LLAMA)
    body = json.dumps({"model": LLAMA, "inputs": "hello", "parameters": parameters})  # NaN too
    headers = {"Content-Type": "application/json"}
    response = requests.post(f"{server.url}/api/predictions", data=body, headers=headers, timeout=60)
    # What is no JSON, or has too many digits, is refused before it is a parameter.
    refusals = ((400, "invalid_request"), (422, "bad_inputs"))
    assert (response.status_code, response.json()["error"]["code"]) in refusals


@pytest.fixture(scope="module")
def impatient(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose predictions may take a second, and one of which may wait."""
    settings = {"PREDICTION_SECONDS": 1, "MAX_WAITING_PREDICTIONS": 1}
    running = Server(tmp_path_factory.mktemp("data"), MODELS_DIR=models_dir, **settings).start()
    assert running.load(LLAMA)["state"] == "ready"
    yield running
    running.stop()


def test_a_prediction_that_takes_too_long_is_ended_and_the_model_goes_on(impatient: Server) -> None:
    began = time.monotonic()
    status, _, body = Client(impatient, LONG).response()
    assert time.monotonic() - began < 5
    assert (status, body["error"]["code"]) == (504, "prediction_timeout")
    assert body["error"]["message"] == f"{LLAMA} took more than 1.0 s for a prediction, which was ended."
    assert "MODELHUB_PREDICTION_SECONDS" in body["error"]["hint"]
    assert _predict(impatient).ok


def test_a_process_that_ends_no_prediction_is_ended(impatient: Server) -> None:
    with _busy(impatient) as process:
        running = Client(impatient, LONG)
    process.suspend()  # as a call of a library does that lets no other code run
    waiting = Client(impatient, SHORT)
    assert impatient.get("/livez").ok  # green threads take turns: it has been taken by now
    refused = _predict(impatient)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "too_busy")
    assert refused.headers["Retry-After"]
    for client in (running, waiting):
        status, _, body = client.response()
        assert (status, body["error"]["code"]) == (504, "prediction_timeout")
        assert "load the model again" in body["error"]["hint"]
    failed = impatient.wait_state(LLAMA, ("failed",))
    assert failed["error"]["code"] == "prediction_timeout"
    assert not psutil.pid_exists(process.pid) or process.status() == psutil.STATUS_ZOMBIE
    assert impatient.load(LLAMA)["state"] == "ready"
    assert _predict(impatient).ok
