"""Models that cannot be loaded: listed with the reason, and refused with the same one."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.support.forms import csrf_token
from tests.support.types import StartServer


@pytest.mark.parametrize(
    ("name", "file", "code"),
    [
        ("org/name", "x.gguf", "gguf"),
        ("org/name", "adapter_config.json", "adapter"),
        ("org/name", "model_index.json", "diffusers"),
        ("org/name", "model.safetensors", "no_config"),
        ("my model (1)", "config.json", "bad_name"),
    ],
)
def test_it_is_listed_and_refused_at_once(
    client: FlaskClient, tmp_path: Path, name: str, file: str, code: str
) -> None:
    (tmp_path / "models" / name).mkdir(parents=True)
    (tmp_path / "models" / name / file).write_text("{}")
    listed = client.get("/api/models").json
    assert listed is not None
    (found,) = [model for model in listed["models"] if model["id"] == name]
    assert (found["cannot_load"]["code"], found["fits"]) == (code, None)
    assert client.get(f"/api/models/{name}").json == found
    refused = client.post("/api/loads", json={"model": name})
    assert refused.json is not None
    assert (refused.status_code // 100, refused.json["error"]) == (4, found["cannot_load"])
    preview = client.get("/api/plans", query_string={"model": name})
    assert preview.json == {"error": found["cannot_load"]}
    assert name in client.get("/").text
    assert client.get(f"/models/{name}").status_code == 200


def test_a_name_with_spaces_is_one_name_in_the_form(client: FlaskClient, tmp_path: Path) -> None:
    (tmp_path / "models" / "my model").mkdir(parents=True)
    (tmp_path / "models" / "my model" / "config.json").write_text("{}")
    data = {"csrf_token": csrf_token(client.get("/").text), "model": " my model "}
    response = client.post("/loads", data=data, headers={"Accept": "application/json"})
    assert response.json is not None
    assert response.json["error"]["code"] == "bad_name"


def test_one_of_the_preload_list_fails_as_a_load_and_the_server_starts(
    start_server: StartServer, tmp_path: Path
) -> None:
    (tmp_path / "mine" / "org" / "name").mkdir(parents=True)
    (tmp_path / "mine" / "org" / "name" / "x.gguf").write_text("x")
    server = start_server(MODELS_DIR=tmp_path / "mine", PRELOAD="org/name")
    assert server.wait_state("org/name", ("failed",))["error"]["code"] == "gguf"
    response = server.get("/readyz")
    assert response.json()["preload"] == {"org/name": "failed"}
