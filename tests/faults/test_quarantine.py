"""A model that fails each time is quarantined until a person tries again; other models go on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from modelhub.config import CLI_USER_AGENT
from tests.support.forms import Visitor
from tests.support.ids import BERT, LLAMA, VIT
from tests.support.invariants import check_invariants
from tests.support.server import Server, wait_until

PAGE = f"/models/{LLAMA}"


@pytest.fixture(scope="module")
def running(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own."""
    server = Server(tmp_path_factory.mktemp("data"), MODELS_DIR=models_dir).start().wait_warm()
    yield server
    server.stop()


@pytest.fixture
def quarantined(running: Server) -> Server:
    """The same, where the process of a model has ended in three loads, each time in another way."""
    running.unload_all()
    for number in (signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS):
        running.kill_load(LLAMA, number)
    return running


def refusal(server: Server, **more: Any) -> dict[str, Any]:
    """The error with which a request of a program to load the model is answered."""
    response = server.post("/api/loads", {"model": LLAMA, **more})
    assert response.status_code == 409, response.text
    error: dict[str, Any] = response.json()["error"]
    return error


def end_by_page(server: Server) -> None:
    """Press Load on the model's page."""
    assert Visitor(server).press(PAGE, "/loads", model=LLAMA).ok
    assert server.wait_state(LLAMA, ("ready", "failed"))["state"] == "ready"


def test_programs_are_refused_with_the_reason_until_a_person_presses_load(quarantined: Server) -> None:
    last = quarantined.snapshot(LLAMA)["error"]
    total = quarantined.get(f"/api/loads?model={LLAMA}").json()["total"]
    for _ in range(3):
        error = refusal(quarantined)
        assert error["code"] == "quarantined"
        assert last["message"] in error["message"]
        assert '"retry": true' in error["hint"]
    assert quarantined.get(f"/api/loads?model={LLAMA}").json()["total"] == total, "no load was made of it"
    assert [trouble["code"] for trouble in quarantined.get("/readyz").json()["degraded"]] == ["quarantined"]
    assert quarantined.load(BERT)["state"] == "ready", "other models are not concerned"
    for page in (PAGE, "/"):
        assert "requests of programs to load it are refused" in Visitor(quarantined).open(page).text
    end_by_page(quarantined)
    assert quarantined.get("/readyz").json()["degraded"] == []
    quarantined.delete(f"/api/models/{LLAMA}")
    assert quarantined.load(LLAMA)["state"] == "ready", "a success ends it for programs too"
    check_invariants(quarantined)


def test_a_program_can_say_that_a_person_wants_it(quarantined: Server) -> None:
    assert refusal(quarantined)["code"] == "quarantined"
    quarantined.request_load(LLAMA, retry=True)
    assert quarantined.wait_state(LLAMA, ("ready", "failed"))["state"] == "ready"
    check_invariants(quarantined)


def test_the_command_line_is_a_person(quarantined: Server) -> None:
    headers = {"User-Agent": CLI_USER_AGENT}
    url = f"{quarantined.url}/api/loads"
    assert requests.post(url, json={"model": LLAMA}, headers=headers, timeout=30).status_code == 202
    assert quarantined.wait_state(LLAMA, ("ready", "failed"))["state"] == "ready"
    check_invariants(quarantined)


def test_a_failure_that_was_dismissed_is_forgotten(quarantined: Server) -> None:
    Visitor(quarantined).press(PAGE, f"{PAGE}/dismiss")
    assert quarantined.load(LLAMA)["state"] == "ready"
    check_invariants(quarantined)


def test_a_model_that_crashes_each_time_it_is_ready(running: Server) -> None:
    running.unload_all()
    for _ in range(3):
        assert running.load(VIT)["state"] == "ready"
        (process,) = running.workers()
        process.kill()
        wait_until(lambda: running.snapshot(VIT)["state"] == "failed")
    response = running.post("/api/loads", {"model": VIT})
    assert response.json()["error"]["code"] == "quarantined"
    running.request_load(VIT, retry=True)
    assert running.wait_state(VIT, ("ready", "failed"))["state"] == "ready"
    check_invariants(running)


def test_a_load_that_is_refused_for_lack_of_memory_may_be_tried_as_often_as_one_likes(
    running: Server,
) -> None:
    for _ in range(4):
        assert running.load("tiny/too-big")["error"]["code"] == "no_memory"
    check_invariants(running)
