"""Ollama's API where no model is needed: lists, failures in its shape, the probe, and who may do what."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support.types import MakeApp

TOKEN, VIEW = "a-token-of-its-own", "a-token-to-watch-with"
JSON = {"Accept": "application/json"}
TEMPLATE = "{% if tools %}{{ tools }}{% endif %}{% if enable_thinking %}<think>{% endif %}"


@pytest.fixture
def app(make_app: MakeApp, tmp_path: Path) -> Flask:
    """The application with one model in the user's folder, of which it has the configuration only."""
    folder = tmp_path / "models" / "org" / "chat"
    folder.mkdir(parents=True)
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "max_position_embeddings": 4096}
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": 64, "num_hidden_layers": 2}))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    header = json.dumps({"a": {"dtype": "BF16", "shape": [1500], "data_offsets": [0, 3000]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(3000))
    return make_app()


def test_the_version_is_that_of_an_ollama_that_clients_know(client: FlaskClient) -> None:
    major, minor, _ = (int(part) for part in client.get("/api/version").json["version"].split("."))  # type: ignore[index]
    assert (major, minor) >= (0, 6)


def test_models_are_listed_with_what_their_files_say(client: FlaskClient) -> None:
    (model,) = client.get("/api/tags").json["models"]  # type: ignore[index]
    assert model["name"] == model["model"] == "org/chat"
    assert model["size"] > 3000
    assert len(model["digest"]) == 64
    assert model["details"]["family"] == "llama"
    assert model["details"]["parameter_size"] == "1.5K"
    assert model["details"]["quantization_level"] == "BF16"


@pytest.mark.parametrize("key", ["model", "name"])
def test_a_model_is_shown_as_clients_read_it(client: FlaskClient, key: str) -> None:
    # curl -d sends it as a form, and Ollama reads JSON whatever it is called
    body = json.dumps({key: "org/chat:latest"})
    shown = client.post("/api/show", data=body, content_type="application/x-www-form-urlencoded").json
    assert shown is not None
    assert shown["template"] == TEMPLATE
    assert shown["model_info"]["llama.context_length"] == 4096
    assert shown["model_info"]["general.parameter_count"] == 1500
    assert shown["capabilities"] == ["completion", "tools", "thinking"]


def test_nothing_is_in_memory(client: FlaskClient) -> None:
    assert client.get("/api/ps").json == {"models": []}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("POST", "/api/show", {"model": "org/none"}, 404, "org/none"),
        ("POST", "/api/show", {}, 400, "model: Name one"),
        ("POST", "/api/show", [1], 400, "object"),
        ("POST", "/api/chat", {"model": "../x", "messages": []}, 422, "../x"),
        ("POST", "/api/chat", {"model": "org/chat:8b"}, 422, "org/chat:8b"),
        ("POST", "/api/chat", {"model": "org/chat", "keep_alive": "soon"}, 400, "keep_alive"),
        ("POST", "/api/generate", {"model": "org/chat", "prompt": "x", "suffix": "y"}, 400, "suffix"),
        ("DELETE", "/api/delete", {"model": "org/none"}, 404, "org/none"),
        ("DELETE", "/api/delete", {"model": "org/chat"}, 409, "own models folder"),
        ("GET", "/api/chat", None, 405, "method"),
        ("POST", "/api/create", {"model": "org/new"}, 404, "Address not found"),
        ("POST", "/api/blobs/sha256:0", None, 404, "Address not found"),
    ],
)
def test_failures_are_a_text(
    client: FlaskClient, method: str, path: str, body: object, status: int, words: str
) -> None:
    response = client.open(path, method=method, json=body)
    assert response.status_code == status
    assert response.json is not None
    assert words in response.json["error"]


def test_a_failure_without_a_token_is_a_text_too(make_app: MakeApp) -> None:
    client = make_app(TOKEN=TOKEN).test_client()
    response = client.post("/api/chat", json={"model": "org/chat"})
    assert response.status_code == 401
    assert "token" in response.json["error"]  # type: ignore[index]


def test_who_may_watch_may_look_at_models_and_no_more(make_app: MakeApp) -> None:
    client = make_app(TOKEN=TOKEN, VIEW_TOKEN=VIEW).test_client()
    headers = {"Authorization": f"Bearer {VIEW}"}
    for path in ("/api/tags", "/api/ps", "/api/version"):
        assert client.get(path, headers=headers).status_code == 200
    assert client.post("/api/show", json={"model": "org/none"}, headers=headers).status_code == 404
    for path in ("/api/chat", "/api/generate", "/api/embed", "/api/embeddings", "/api/pull"):
        assert client.post(path, json={"model": "org/none"}, headers=headers).status_code == 403
    assert client.delete("/api/delete", json={"model": "org/none"}, headers=headers).status_code == 403


def test_no_page_of_another_site_reaches_it(client: FlaskClient) -> None:
    response = client.post(
        "/api/show", data="{}", content_type="text/plain", headers={"Origin": "https://evil.example"}
    )
    assert response.status_code == 403
