"""The forms of the pages that change what is on the disk, or how a model is loaded."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from modelhub.errors import ModelhubError
from modelhub.payloads import Use
from modelhub.web.current import registry_of
from tests.progress.test_adapter import FACTS
from tests.support import models
from tests.support.expecting import expecting
from tests.support.forms import Visitor, csrf_token
from tests.support.ids import BERT, LLAMA
from tests.support.server import Server
from tests.support.types import StartServer


def test_a_folder_of_the_users_own_is_deleted_after_a_question_that_says_so(
    client: FlaskClient, tmp_path: Path
) -> None:
    folder = models.make_llama(tmp_path / "models" / "org" / "mine")
    page = client.get("/models/org/mine").text
    assert 'href="/delete/org/mine"' in page
    question = client.get("/delete/org/mine").text
    assert "This is a folder of your own." in question
    assert str(folder) in question
    token = csrf_token(question)
    refused = client.post("/delete/org/mine", data={"csrf_token": token})
    assert refused.status_code == 409
    assert folder.is_dir(), "not without the field that the question has"
    done = client.post("/delete/org/mine", data={"csrf_token": token, "own": "yes"}, follow_redirects=True)
    assert "org/mine: 2" in done.text
    assert "deleted." in done.text
    assert not folder.exists()


def test_files_of_the_cache_are_told_apart(start_server: StartServer, tmp_path: Path) -> None:
    blobs = tmp_path / "data0" / "hf" / "hub" / "models--org--half" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{'0' * 64}.incomplete").write_bytes(bytes(7_000_000))
    own = start_server(DATA_DIR=tmp_path / "data0")
    assert "7.0 MB of a download" in own.get("/").text
    page = own.get("/models/org/half").text
    assert "7.0 MB of that is an unfinished download" in page
    question = own.get("/delete/org/half").text
    assert "It can be downloaded again." in question
    assert "of your own" not in question


def test_what_is_not_on_the_disk_cannot_be_deleted(client: FlaskClient) -> None:
    assert 'href="/delete/' not in client.get("/models/demo/random-2gb").text
    assert client.get("/delete/demo/random-2gb").status_code == 404


def test_the_reason_is_on_the_page_of_what_cannot_be_loaded(client: FlaskClient, tmp_path: Path) -> None:
    (tmp_path / "models" / "org" / "name").mkdir(parents=True)
    (tmp_path / "models" / "org" / "name" / "x.gguf").write_text("x")
    for path in ("/", "/models/org/name"):
        page = client.get(path).text
        assert "Cannot be loaded" in page
        assert "GGUF" in page
        assert "llama.cpp" in page


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_a_load_has_the_data_type_of_the_form(empty_server: Server, dtype: str) -> None:
    pressed = Visitor(empty_server).press(f"/models/{BERT}", "/loads", model=BERT, dtype=dtype, device="")
    assert pressed.status_code == 200
    assert empty_server.wait_state(BERT, ("ready",))["dtype"] == dtype


def test_a_data_type_or_device_that_does_not_exist_is_refused(client: FlaskClient) -> None:
    for field in ("dtype", "device"):
        data = {"csrf_token": csrf_token(client.get("/").text), "model": BERT, field: "huge"}
        response = client.post("/loads", data=data, headers={"Accept": "application/json"})
        assert response.status_code == 422
        assert response.json is not None
        assert field in response.json["error"]["message"]


def test_no_device_is_offered_where_there_is_no_choice(client: FlaskClient) -> None:
    page = client.get("/models/demo/random-2gb").text
    assert '<select name="dtype">' in page
    assert '<select name="device">' not in page


def test_a_load_that_replaces_a_model_asks_where_that_is_in_use(empty_server: Server) -> None:
    server = empty_server  # another test may have BERT in memory for longer
    visitor = Visitor(server)
    token = csrf_token(visitor.open(f"/models/{LLAMA}").text)  # a page may take a second, and two count
    server.load(BERT)
    asked = visitor.send("/loads", token, model=LLAMA, replaces=BERT)
    assert asked.status_code == 409
    assert "has only just become ready" in asked.text
    assert server.snapshot(LLAMA)["state"] == "absent"
    done = visitor.press(f"/models/{LLAMA}", "/loads", model=LLAMA, replaces=BERT, sure="1")
    assert done.url.endswith(f"/models/{LLAMA}")
    server.wait_state(LLAMA, ("ready",))
    assert server.wait_state(BERT, ("absent",))["by"] == "page"


def test_a_page_offers_to_load_instead_of_what_makes_room_enough(
    app: Flask, client: FlaskClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offers(path: str) -> list[str]:
        return re.findall(r'name="replaces" value="([^"]+)"', client.get(path).text)

    models.make_llama(tmp_path / "models" / "org" / "new")
    adapter = registry_of(app).adapter
    for model_id, held in (("org/large", 900_000), ("org/middle", 500_000), ("org/small", 1_000)):
        adapter.started(model_id, model_id, *expecting(held))
        idle: Use = {
            "running": 0,
            "waiting": 0,
            "tokens_per_second": None,
            "idle_since": 1.0,
            "leaves_at": None,
            "memory": held,
        }
        adapter.completed(model_id, {**FACTS, "memory": held}, use=idle)
    assert offers("/models/org/new") == [], "it fits"
    monkeypatch.setattr("modelhub.memory.free_bytes", lambda: 100_000)
    assert offers("/models/org/new") == ["org/middle", "org/large"]
    assert offers("/models/org/small") == [], "it is in memory"
    monkeypatch.setattr("modelhub.memory.free_bytes", lambda: 10_000_000)
    adapter.started("org/new", "1", *expecting())
    adapter.failed("org/new", ModelhubError("no_memory", id="org/new", needed="1 GB", free="0 bytes"))
    assert offers("/models/org/new") == ["org/small", "org/middle"], "it was refused: any may make room"
