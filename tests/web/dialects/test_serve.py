"""The API of transformers serve: loads as it tells them, from a real server, and unloading."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import requests
from flask.testing import FlaskClient

from modelhub.progress.log import absent
from modelhub.states import State
from modelhub.web.dialects.serve_load import Stages, tensor_ends
from tests.support.ids import DEMO, LLAMA
from tests.support.models import make_llama
from tests.support.server import Server


def _load(server: Server, model: str) -> list[dict[str, Any]]:
    body = {"model": model}
    with requests.post(f"{server.url}/load_model", json=body, stream=True, timeout=60) as response:
        assert response.status_code == 200
        assert response.headers["Content-Type"].startswith("text/event-stream")
        lines = [line for line in response.iter_lines(decode_unicode=True) if line.startswith("data: ")]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def _stages(frames: list[dict[str, Any]]) -> list[str]:
    """The stages in their order, each once."""
    names = [frame["stage"] for frame in frames if frame["status"] == "loading"]
    return [name for place, name in enumerate(names) if name not in names[:place]]


def test_a_load_goes_through_its_stages_to_ready_once(empty_server: Server, models_dir: Path) -> None:
    frames = _load(empty_server, LLAMA)
    assert {frame["model"] for frame in frames} == {f"{LLAMA}@main"}
    assert _stages(frames) == ["processor", "config", "weights"]
    assert [frame["status"] for frame in frames].count("ready") == 1
    assert (frames[-1]["status"], frames[-1]["cached"]) == ("ready", False)
    counts = [frame["progress"] for frame in frames if frame.get("stage") == "weights"]
    total = len(tensor_ends(models_dir / LLAMA) or [])
    assert total > 10
    assert {one["total"] for one in counts} == {total}
    current = [one["current"] for one in counts]
    assert (current[0], current[-1], current) == (1, total, sorted(set(current)))
    assert {"bytes", "share", "seconds_left", "step", "load_id"} <= set(frames[0])
    again = _load(empty_server, f"{LLAMA}@main")
    assert again == [{"status": "ready", "model": f"{LLAMA}@main", "cached": True}]
    assert empty_server.snapshot(LLAMA)["state"] == "ready"
    assert empty_server.post("/reset", None).json() == {"status": "ok"}
    assert empty_server.snapshot(LLAMA)["state"] == "absent"
    assert empty_server.get("/health").json() == {"status": "ok"}


def test_what_is_fetched_or_made_is_counted_in_bytes(empty_server: Server) -> None:
    empty_server.delete(f"/api/files/{DEMO}")
    frames = _load(empty_server, DEMO)
    assert _stages(frames) == ["processor", "config", "download", "weights"]
    fetched = [frame["progress"] for frame in frames if frame.get("stage") == "download"]
    assert [one["current"] for one in fetched] == sorted({one["current"] for one in fetched})
    assert fetched[-1]["current"] == fetched[-1]["total"] > 90e6


def test_a_load_that_is_left_goes_on_and_can_be_joined(empty_server: Server) -> None:
    frozen = empty_server.freeze_load(LLAMA)
    with requests.post(
        f"{empty_server.url}/load_model", json={"model": LLAMA}, stream=True, timeout=60
    ) as response:
        assert b"loading" in next(response.iter_lines())
    frozen.resume()
    frames = _load(empty_server, LLAMA)
    assert [frame["status"] for frame in frames].count("ready") == 1
    assert frames[-1]["status"] == "ready"
    assert len(empty_server.get("/api/loads", params={"model": LLAMA, "limit": 1}).json()["loads"]) == 1


def test_a_load_that_fails_is_an_event(empty_server: Server) -> None:
    for model, words in (("nobody/nothing", "hub cannot be reached"), ("no id!", "is not a model id")):
        frames = _load(empty_server, model)
        assert [frame["status"] for frame in frames if frame["status"] != "loading"] == ["error"]
        assert words in frames[-1]["message"]
        assert str(empty_server.data_dir) not in frames[-1]["message"]


def test_a_model_must_be_named(client: FlaskClient) -> None:
    for body in ({}, {"model": ""}, {"model": None}):
        refused = client.post("/load_model", json=body)
        assert refused.json is not None
        assert (refused.status_code, set(refused.json)) == (422, {"detail"})
    assert client.post("/load_model", json={"model": 5}).status_code == 400
    assert client.post("/load_model", data={"model": "x"}).status_code == 415
    assert set(client.get("/reset").json or {}) == {"detail"}


def test_stages_that_went_too_fast_to_be_seen_are_told_all_the_same() -> None:
    ready: Any = {**absent("org/name", "e"), "state": State.READY}
    frames = list(Stages(lambda: list(range(1, 10))).frames(ready))
    assert [frame["stage"] for frame in frames] == ["processor", "config", "weights", "weights"]
    assert [frame["progress"]["current"] for frame in frames[2:]] == [1, 9]


def test_tensors_are_counted_once_all_their_bytes_are_read_and_never_back() -> None:
    stages = Stages(lambda: [10, 20, 80, 80, 100])
    base: Any = {**absent("org/name", "e"), "state": State.LOADING, "step": 5, "unit": "bytes", "size": 100}
    counted = [
        frame["progress"]["current"]
        for done in (0, 19, 20, 79, 80, 20, 99, 100)
        for frame in stages.frames({**base, "done": done})
        if frame["stage"] == "weights"
    ]
    assert counted == [1, 2, 4, 5]
    failed: Any = {**base, "state": State.FAILED, "step": 5}
    assert list(stages.frames(failed)) == []


def test_tensors_that_cannot_be_counted_are_not_known(tmp_path: Path) -> None:
    folder = make_llama(tmp_path / "llama", shards=3)
    whole = make_llama(tmp_path / "whole")
    assert len(tensor_ends(folder) or []) == len(tensor_ends(whole) or []) > 10
    assert (tensor_ends(folder) or [])[-1] == (tensor_ends(whole) or [])[-1]
    shutil.copy(folder / "config.json", folder / "model-00001-of-00003.safetensors")
    assert tensor_ends(folder) is None
    assert tensor_ends(tmp_path / "nothing") is None
    ready: Any = {**absent("org/name", "e"), "state": State.READY}
    assert "progress" not in list(Stages(lambda: None).frames(ready))[-1]
