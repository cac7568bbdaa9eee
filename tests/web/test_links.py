"""A link of the hub, pasted where an id is expected: every entry takes it as the id."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from modelhub.cli import ModelIdType, NotRequested
from tests.support.forms import csrf_token
from tests.support.ids import LLAMA
from tests.support.server import Server
from tests.support.types import Watch

LINK = f"https://huggingface.co/{LLAMA}/tree/main"


def test_rest(empty_server: Server) -> None:
    load = empty_server.post("/api/loads", {"model": LINK}).json()
    assert load["model_id"] == LLAMA
    empty_server.wait_state(LLAMA, ("ready",))
    assert empty_server.get("/api/plans", params={"model": LINK}).json()["id"] == LLAMA
    assert empty_server.get(f"/api/models/{LINK}").json()["id"] == LLAMA
    prediction = empty_server.post("/api/predictions", {"model": LINK, "inputs": "x"}).json()
    assert prediction["model"] == LLAMA
    assert empty_server.delete(f"/api/models/{LINK}").json()["id"] == LLAMA


def test_sockets(server: Server, watch: Watch) -> None:
    watcher = watch(server)
    assert watcher.subscribe(LINK)["snapshot"]["id"] == LLAMA
    assert watcher.client.call("unsubscribe", {"id": LINK}, timeout=20) == {"ok": True}


def test_the_form_of_the_page(client: FlaskClient) -> None:
    token = csrf_token(client.get("/").text)
    link = "https://huggingface.co/demo/random-0.1gb"
    response = client.post("/loads", data={"csrf_token": token, "model": link, "preview": "yes"})
    assert response.status_code == 303
    assert "demo/random-0.1gb: Made by modelhub" in client.get("/").text


def test_the_address_of_a_page(client: FlaskClient) -> None:
    response = client.get("/models/hf.co/demo/random-0.1gb")
    assert (response.status_code, response.location) == (303, "/models/demo/random-0.1gb")
    unknown = client.get("/models/hf.co/nobody/nothing")
    assert unknown.status_code == 404
    assert "hf.co" not in unknown.text
    assert "on this machine" in unknown.text


def test_the_command_line() -> None:
    assert ModelIdType().convert(LINK, None, None) == LLAMA
    with pytest.raises(NotRequested, match="data set"):
        ModelIdType().convert("https://huggingface.co/datasets/org/name", None, None)


def test_a_link_to_a_data_set(client: FlaskClient) -> None:
    response = client.post("/api/loads", json={"model": "https://huggingface.co/datasets/org/name"})
    assert response.json is not None
    assert (response.status_code, response.json["error"]["code"]) == (422, "invalid_id")
    assert "data set" in response.json["error"]["hint"]


def test_a_model_that_is_not_here_is_not_said_to_be_missing_on_the_hub(client: FlaskClient) -> None:
    response = client.get("/api/models/nobody/nothing")
    assert response.json is not None
    assert response.json["error"]["code"] == "unknown_model"
    assert response.json["error"]["message"] == "No model nobody/nothing was found on this machine."
