"""Files that may not be read or written, are no files, or go during a load; a disk that does not respond."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import models
from tests.support.disks import obey_permissions
from tests.support.hub_server import HubServer
from tests.support.invariants import check_invariants
from tests.support.resident import drop
from tests.support.server import ROOT, Server, let_run
from tests.support.types import Watch

STUCK_READER = ROOT / "tests" / "support" / "stuck_reader"
CONFIG, WEIGHTS = "config.json", "model.safetensors"
REPO = "org/there"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the tests of this module share: the folders of models, of the hub, of the cache."""
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def shared(folder: Path) -> Iterator[Server]:
    """A server that obeys permissions, whose reading is stuck as long as the FIFO "stuck" is there."""
    models.make_llama(folder / "hub" / REPO)
    (folder / "models").mkdir()
    with HubServer(folder / "hub") as hub:
        environ = {
            "HF_ENDPOINT": hub.url,
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_CACHE": str(folder / "cache"),
            "PYTHONPATH": os.pathsep.join((str(STUCK_READER), str(ROOT))),
            "STUCK_AT": str(folder / "stuck"),
            "STUCK_IN": "D",
        }
        server = Server(folder / "data", environ, MODELS_DIR=folder / "models", STALL_SECONDS=1)
        yield obey_permissions(server).start().wait_warm()
        server.stop()


@pytest.fixture
def server(shared: Server, folder: Path) -> Iterator[Server]:
    """The server, with no model in memory and all permissions as they were."""
    yield shared
    shared.unload_all()
    for path in (folder / "cache", folder / "models", *(folder / "models").rglob("*")):
        if path.exists():
            path.chmod(0o755)


@pytest.fixture
def model(folder: Path, tmp_path: Path) -> Path:
    """The folder of a model of the user's own."""
    return models.make_llama(folder / "models" / tmp_path.name)


def failure(server: Server, name: str) -> dict[str, Any]:
    snapshot = server.load(name)
    assert snapshot["state"] == "failed"
    return dict(snapshot["error"])


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, "tokenizer.json", ""])
def test_what_may_not_be_read_is_named(server: Server, model: Path, name: str) -> None:
    (model / name).chmod(0)
    error = failure(server, model.name)
    assert error["code"] == "no_permission"
    assert (name or "The folder") in error["message"]
    assert "chmod" in error["hint"]
    (model / name).chmod(0o755)
    assert server.load(model.name)["state"] == "ready"
    check_invariants(server)


def test_a_cache_that_may_not_be_written_to(server: Server, folder: Path) -> None:
    (folder / "cache").mkdir()
    (folder / "cache").chmod(0o555)
    error = failure(server, REPO)
    assert error["code"] == "cache_read_only"
    assert "HF_HOME" in error["hint"]
    (folder / "cache").chmod(0o755)
    assert server.load(REPO)["state"] == "ready"
    server.unload_all()
    (folder / "cache").chmod(0o555)
    assert server.load(REPO)["state"] == "ready", "what is there can be read"
    check_invariants(server)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, "tokenizer.json"])
def test_a_fifo_in_place_of_a_file_is_not_opened(server: Server, model: Path, name: str) -> None:
    (model / name).unlink()
    os.mkfifo(model / name)
    began = time.monotonic()
    answer = server.post("/api/loads", {"model": model.name})
    if answer.ok:
        error = server.wait_state(model.name, ("ready", "failed"))["error"]
        codes = {"refused", "no_config"} if name == CONFIG else {"refused"}
    else:  # a scan has seen it before: to it, what is no file is not there
        error = answer.json()["error"]
        codes = {CONFIG: {"no_config"}, WEIGHTS: {"missing_weights"}}[name]
    assert time.monotonic() - began < 5
    assert error["code"] in codes
    assert name in error["message"]
    check_invariants(server)


def test_a_folder_that_is_deleted_at_any_moment(server: Server, model: Path, tmp_path: Path) -> None:
    ends = set()
    for moment_s in random.sample([n / 1000 for n in range(60)], 8):
        kept = shutil.copytree(model, tmp_path / "kept")
        process = server.freeze_load(model.name)
        let_run(process, moment_s)
        shutil.rmtree(model)
        process.resume()
        snapshot = server.wait_state(model.name, ("ready", "failed"))
        ends.add(snapshot["error"]["code"] if snapshot["error"] else "ready")
        server.unload_all()
        shutil.move(kept, model)
    assert ends <= {"unknown_model", "no_config", "missing_shard", "files_gone", "ready"}, ends
    check_invariants(server)


def respond_again(fifo: Path) -> None:
    """Let go of what waits for a disk that does not respond as long as ``fifo`` is there."""
    reads = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    writes = os.open(fifo, os.O_WRONLY)
    fifo.unlink()
    os.close(writes)
    os.close(reads)


def test_a_load_from_a_disk_that_does_not_respond_is_cancelled_within_a_second(
    server: Server, folder: Path, watch: Watch
) -> None:
    model = models.make_sparse_llama(folder / "models" / "larger", 40_000)  # more than a scan reads of it
    drop(model / WEIGHTS)
    os.mkfifo(folder / "stuck")
    try:
        watcher = watch(server)
        watcher.subscribe()
        server.request_load(model.name)
        watcher.wait_until(lambda events: any(event["stalled_for"] for _, event in events), 30)
        stalled = next(event for _, event in watcher.events if event["stalled_for"])
        assert 1 <= stalled["stalled_for"] < 2, "it is said as soon as it is a stall"
        began = time.monotonic()
        server.delete(f"/api/loads/{stalled['load_id']}")
        cancelled = watcher.wait_for("model_load_cancelled", timeout_s=10)
        assert time.monotonic() - began < 1
        assert cancelled["by"] == "rest"
    finally:
        respond_again(folder / "stuck")
    assert server.load(model.name)["state"] == "ready"
    check_invariants(server)
