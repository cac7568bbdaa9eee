"""Previews of loads by a real server, with a Hugging Face hub on loopback."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from modelhub import create_app
from modelhub.units import duration, size
from modelhub.web.current import registry_of
from tests.support import models
from tests.support.hub_server import HubServer
from tests.support.no_zygote import start_no_zygote
from tests.support.server import Server, wait_until
from tests.support.types import StartServer

WHOLE, PARTS = "org/whole", "org/parts"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    root = tmp_path_factory.mktemp("hub")
    models.make_llama(root / WHOLE)
    models.make_llama(root / PARTS, shards=3)
    models.make_llama(root / "org/gated")
    models.make_llama(root / "org/no-config")
    (root / "org/no-config/config.json").unlink()
    models.make_llama(root / "org/no-weights")
    (root / "org/no-weights/model.safetensors").rename(root / "org/no-weights/pytorch_model.bin")
    with HubServer(root) as running:
        running.gated.add("org/gated")
        running.broken.add("org/broken")
        yield running


@pytest.fixture(scope="module")
def online(hub: HubServer, models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    environ = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0"}
    server = Server(tmp_path_factory.mktemp("data"), environ, MODELS_DIR=models_dir).start().wait_warm()
    yield server
    server.stop()


def get_preview(server: Server, model_id: str) -> dict[str, Any]:
    return dict(server.get("/api/plans", params={"model": model_id}).json())


def listed(server: Server, model_id: str) -> dict[str, Any]:
    rows: list[dict[str, Any]] = server.get("/api/models").json()["models"]
    return next(row for row in rows if row["id"] == model_id)


def weight_bytes(hub: HubServer, repo: str) -> int:
    return sum(path.stat().st_size for name, path in hub.files(repo).items() if name.endswith(".safetensors"))


@pytest.mark.parametrize("repo", [WHOLE, PARTS])
def test_the_list_of_files_is_requested_and_no_file_is_fetched(
    hub: HubServer, online: Server, repo: str
) -> None:
    hub.requests.clear()
    found = get_preview(online, repo)
    files = hub.files(repo)
    assert found["source"] == "hub"
    assert found["revision"] == hub.commit(repo)
    assert found["size_bytes"] == weight_bytes(hub, repo)
    assert found["files"] == found["fetch_files"] == len(files)
    assert found["fetch_bytes"] == sum(path.stat().st_size for path in files.values())
    assert found["fits"] is True
    assert found["said"].startswith("Hugging Face hub: ")
    requested = [path for _, path, _ in hub.requests]
    assert requested.count(f"/api/models/{repo}") == 1
    assert not any("/resolve/" in path for path in requested), "the list is requested, and no file"


def test_what_was_fetched_before_is_not_counted_as_to_fetch(hub: HubServer, online: Server) -> None:
    repo = "org/later"
    shutil.copytree(hub.root / WHOLE, hub.root / repo)
    assert get_preview(online, repo)["fetch_files"] > 0
    assert online.load(repo)["state"] == "ready"
    found = get_preview(online, repo)
    assert (found["source"], found["fetch_bytes"]) == ("cache", 0)
    assert found["revision"] == hub.commit(repo)
    online.unload_all()


def test_a_preview_says_how_long_a_load_will_take(hub: HubServer, online: Server) -> None:
    repo, other = "org/timed", "org/timed-too"
    shutil.copytree(hub.root / WHOLE, hub.root / repo)
    shutil.copytree(hub.root / WHOLE, hub.root / other)
    first = online.load(repo)
    online.unload_all()
    found = get_preview(online, other)
    assert found["forecast"]["basis"] == "machine"
    assert found["forecast"]["steps"][2] == pytest.approx(first["steps"][2], rel=2.0)
    assert found["last_seconds"] is get_preview(online, repo)["last_seconds"] is None, "that was a download"
    online.wait_spare()
    took = online.load(repo)["seconds"]
    online.unload_all()
    online.wait_spare()
    again = get_preview(online, repo)
    assert again["last_seconds"] == took
    assert again["said"].endswith(f"; loaded in {duration(took)} last time.")


def test_a_model_is_listed_with_its_size_as_soon_as_it_was_fetched(hub: HubServer, online: Server) -> None:
    repo = "org/looked-at"
    shutil.copytree(hub.root / WHOLE, hub.root / repo)
    hub.hold_after["model.safetensors"] = 1
    online.request_load(repo)
    assert hub.holding.wait(10)
    wait_until(lambda: listed(online, repo)["source"] == "cache")
    assert listed(online, repo)["size_bytes"] is None, "a part of it is here"
    hub.hold_after.clear()
    hub.release.set()
    online.wait_state(repo, ("ready",))
    assert listed(online, repo)["size_bytes"] == weight_bytes(hub, repo)
    hub.release.clear()
    online.unload_all()


def test_files_that_are_in_the_cache_are_not_counted_as_to_fetch(hub: HubServer, online: Server) -> None:
    repo = "org/half"
    shutil.copytree(hub.root / PARTS, hub.root / repo)
    cached = online.data_dir / "hf" / "hub" / "models--org--half" / "snapshots" / hub.commit(repo)
    cached.mkdir(parents=True)
    shutil.copy(hub.root / repo / "config.json", cached)
    shutil.copy(hub.root / repo / "model.safetensors.index.json", cached)
    found = get_preview(online, repo)
    assert found["fetch_files"] == found["files"] - 2
    assert found["size_bytes"] == weight_bytes(hub, repo)


@pytest.mark.parametrize(
    ("model_id", "source"),
    [("tiny/llama", "folder"), ("demo/random-0.1gb", "demo"), ("published/minilm", "folder")],
)
def test_a_model_on_this_machine_needs_nothing_fetched(server: Server, model_id: str, source: str) -> None:
    found = get_preview(server, model_id)
    assert (found["source"], found["fetch_files"], found["fetch_bytes"]) == (source, 0, 0)
    assert found["size_bytes"] == server.get(f"/api/models/{model_id}").json()["size_bytes"]
    assert "nothing to fetch" in found["said"]


def test_what_does_not_fit_is_shown_with_the_numbers(server: Server) -> None:
    found = get_preview(server, "tiny/too-big")
    assert found["fits"] is False
    assert found["said"].endswith("free: does not fit."), "and not how long it would take"


def test_the_need_is_that_of_the_dtype_and_that_of_the_load(server: Server) -> None:
    needs = {}
    for dtype in ("auto", "float32", "bfloat16"):
        query = {"model": "tiny/too-big", "dtype": dtype}
        found = server.get("/api/plans", params=query).json()
        server.request_load("tiny/too-big", dtype=dtype)
        error = server.wait_state("tiny/too-big", ("failed",))["error"]
        assert f"needs {size(found['need_bytes'])} of memory" in error["message"]
        assert f"needs {size(found['need_bytes'])}, " in found["said"]
        needs[dtype] = found["need_bytes"]
    assert needs["float32"] == 2 * needs["bfloat16"]
    assert listed(server, "tiny/too-big")["need_bytes"] == needs["auto"]
    wrong = server.get("/api/plans", params={"model": "tiny/too-big", "dtype": "int3"})
    assert wrong.status_code == 422


def test_the_list_says_what_is_needed_in_the_dtype_of_the_settings(
    models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = {"DATA_DIR": tmp_path / "data", "MODELS_DIR": models_dir, "DTYPE": "float32"}
    app = create_app({"TESTING": True, **{f"MODELHUB_{name}": str(path) for name, path in folders.items()}})
    start_no_zygote(registry_of(app), monkeypatch)
    models = {row["id"]: row for row in app.test_client().get("/api/models").json["models"]}
    for name, factor in {"published/minilm": 1, "tiny/llama": 2, "demo/random-2gb": 2}.items():
        assert models[name]["need_bytes"] == pytest.approx(factor * models[name]["size_bytes"], rel=0.05)
    registry_of(app).close()


@pytest.mark.parametrize(
    ("model_id", "status", "code"),
    [
        ("org/nobody-has-it", 404, "unknown_model"),
        ("org/gated", 403, "gated"),
        ("org/broken", 502, "hub_error"),
        ("org/no-config", 404, "no_config"),
        ("org/no-weights", 422, "missing_weights"),
        ("org/whole@nowhere", 404, "unknown_model"),
        ("a..b", 422, "invalid_id"),
    ],
)
def test_a_preview_fails_with_the_error_of_the_load(
    hub: HubServer, online: Server, model_id: str, status: int, code: str
) -> None:
    hub.broken.add("org/broken")
    response = online.get("/api/plans", params={"model": model_id})
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)


def test_offline_is_reported_at_once(server: Server) -> None:
    began = time.monotonic()
    response = server.get("/api/plans", params={"model": "org/not-here"})
    assert response.json()["error"]["code"] == "hub_unreachable"
    assert time.monotonic() - began < 5


def test_a_hub_that_does_not_respond_blocks_no_other_request(start_server: StartServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        server = start_server({"HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0"}).wait_warm()
        previews: list[dict[str, Any]] = []
        sender = threading.Thread(target=lambda: previews.append(get_preview(server, "org/slow")))
        sender.start()
        wait_until(lambda: bool(server.workers()))
        slowest = 0.0
        while sender.is_alive():
            began = time.monotonic()
            server.get("/livez")
            slowest = max(slowest, time.monotonic() - began)
            sender.join(0.05)
        assert previews[0]["error"]["code"] == "hub_unreachable"
        assert slowest < 0.5
        wait_until(lambda: not server.workers())


def test_previews_leave_the_web_process_small(online: Server) -> None:
    for repo in (WHOLE, PARTS):
        get_preview(online, repo)
    assert psutil.Process(online.pid).memory_info().rss < 120e6
    wait_until(lambda: not online.workers(), 10)
