"""Deleting the files of models: through REST, in folders laid out by the test."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from modelhub.checkpoints import LoadSpec
from modelhub.core import deletion
from modelhub.core.catalogue import Catalogue
from modelhub.core.lifecycle import wrong_state
from modelhub.core.load import Load
from modelhub.errors import ModelhubError
from modelhub.states import State
from modelhub.web.current import registry_of
from tests.support.ids import LLAMA
from tests.support.server import Server, wait_until
from tests.support.types import StartServer

DEMO = "demo/random-0.1gb"


def make(folder: Path, size: int = 5000) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "model.safetensors").write_bytes(b"x" * size)
    return folder


def make_cached(top: Path, partial: bool = False) -> Path:
    """A repository with two revisions, or with a partial download alone."""
    repo = top / "models--org--name"
    (repo / "blobs").mkdir(parents=True)
    if partial:
        (repo / "blobs" / "abc.incomplete").write_bytes(b"x" * 7000)
        return repo
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("new")
    for commit in ("old", "new"):
        (repo / "blobs" / commit).write_bytes(b"x" * 6000)
        (repo / "snapshots" / commit).mkdir(parents=True)
        for name in ("config.json", "model.safetensors"):
            (repo / "snapshots" / commit / name).symlink_to(f"../../blobs/{commit}")
    return repo


@pytest.fixture
def cache(app: Flask, tmp_path: Path) -> Path:
    """The folder of the Hugging Face cache of ``app``, empty."""
    folder = tmp_path / "hub"
    folder.mkdir()
    registry_of(app).catalogue.cache_dir = folder
    return folder


def delete(client: FlaskClient, model_id: str, query: str = "") -> tuple[int, str]:
    response = client.delete(f"/api/files/{model_id}{query}")
    assert response.json is not None
    return response.status_code, response.json["error"]["code"] if response.status_code >= 400 else ""


def test_a_model_of_the_cache_is_deleted_with_all_revisions(client: FlaskClient, cache: Path) -> None:
    make_cached(cache)
    before = client.get("/api/models/org/name").json
    assert before is not None
    assert (before["source"], before["disk_bytes"]) == ("cache", 12003)
    deleted = client.delete("/api/files/org/name").json
    assert deleted == {"id": "org/name", "source": "cache", "freed_bytes": 12003}
    assert os.listdir(cache) == []
    assert client.get("/api/models/org/name").status_code == 404


def test_a_partial_download_is_listed_and_deleted(client: FlaskClient, cache: Path) -> None:
    make_cached(cache, partial=True)
    listed = client.get("/api/models").json
    assert listed is not None
    (found,) = [model for model in listed["models"] if model["id"] == "org/name"]
    assert (found["partial_bytes"], found["disk_bytes"], found["cannot_load"]) == (7000, 7000, None)
    assert delete(client, "org/name") == (200, "")
    assert os.listdir(cache) == []


def test_a_file_that_several_repositories_share_goes_with_the_last_of_them(
    client: FlaskClient, cache: Path
) -> None:
    from huggingface_hub.utils import _shared_blobs

    blob_hash = "a" * 64
    for name in ("one", "two"):
        blobs = cache / f"models--org--{name}" / "blobs"
        blobs.mkdir(parents=True)
        (blobs / "x").write_bytes(b"x" * 4000)
        shared = {"blob_path": blobs / "x", "xet_hash": blob_hash, "cache_dir": cache, "expected_size": 4000}
        assert _shared_blobs.publish_blob_to_shared_store(**shared)
    listed = {entry.model_id: entry for entry in Catalogue(cache / "none", cache).entries().values()}
    assert listed["org/one"].disk_bytes == listed["org/two"].disk_bytes == 4000
    store = _shared_blobs.shared_blob_path(cache, blob_hash)
    assert store.is_file()
    assert delete(client, "org/one") == (200, "")
    assert store.is_file()
    assert delete(client, "org/two") == (200, "")
    assert not store.exists()


def test_a_demo_is_deleted_and_can_be_made_again(client: FlaskClient, app: Flask) -> None:
    folder = make(registry_of(app).settings.demo_dir / DEMO)
    assert delete(client, DEMO) == (200, "")
    assert not folder.exists()
    again = client.get(f"/api/models/{DEMO}").json
    assert again is not None
    assert (again["source"], again["disk_bytes"]) == ("demo", 0)
    assert delete(client, DEMO) == (404, "no_files")


@pytest.mark.parametrize("name", ["org/name", "not an id", "x.gguf"])
def test_the_own_folder_needs_a_word_more(client: FlaskClient, tmp_path: Path, name: str) -> None:
    path = tmp_path / "models" / name
    if name.endswith(".gguf"):
        path.parent.mkdir(parents=True)
        path.write_text("x")
    else:
        make(path)
    assert delete(client, name) == (409, "own_folder")
    assert delete(client, name, "?own=no") == (409, "own_folder")
    assert path.exists()
    assert delete(client, name, "?own=yes") == (200, "")
    assert not path.exists()
    assert [child.name for child in (tmp_path / "models").rglob(".*")] == []


def test_of_a_link_only_the_link_is_removed(client: FlaskClient, tmp_path: Path) -> None:
    elsewhere = make(tmp_path / "elsewhere")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "linked").symlink_to(elsewhere)
    deleted = client.delete("/api/files/linked?own=yes").json
    assert deleted == {"id": "linked", "source": "folder", "freed_bytes": 0}
    assert not os.path.lexists(tmp_path / "models" / "linked")
    assert (elsewhere / "model.safetensors").is_file()


def test_what_lies_behind_a_link_is_not_deleted(client: FlaskClient, tmp_path: Path) -> None:
    elsewhere = make(tmp_path / "elsewhere" / "name")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "org").symlink_to(elsewhere.parent)
    assert delete(client, "org/name", "?own=yes") == (409, "cannot_delete")
    assert (elsewhere / "model.safetensors").is_file()


def test_links_within_a_model_are_not_followed(client: FlaskClient, tmp_path: Path) -> None:
    other = make(tmp_path / "other")
    folder = make(tmp_path / "models" / "org" / "name")
    (folder / "link").symlink_to(other)
    assert delete(client, "org/name", "?own=yes") == (200, "")
    assert (other / "config.json").is_file()


@pytest.mark.parametrize("name", ["../data", "org/../../data", "nobody/nothing", "org/name@main"])
def test_a_name_leads_nowhere_else(client: FlaskClient, tmp_path: Path, name: str) -> None:
    make(tmp_path / "models" / "org" / "name")
    status, code = delete(client, name.replace("/", "%2F"), "?own=yes")
    assert (status, code) in ((422, "invalid_id"), (404, "no_files"))
    assert (tmp_path / "models" / "org" / "name").is_dir()
    assert (tmp_path / "data").is_dir()


def test_a_download_of_another_process_is_left_alone(client: FlaskClient, cache: Path) -> None:
    repo = make_cached(cache, partial=True)
    with (repo / "blobs" / "abc.incomplete").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert delete(client, "org/name") == (409, "cannot_delete")
    assert delete(client, "org/name") == (200, "")


def test_a_model_in_memory_keeps_its_files(empty_server: Server) -> None:
    empty_server.load(LLAMA)
    response = empty_server.delete(f"/api/files/{LLAMA}?own=yes")
    assert (response.status_code, response.json()["error"]["code"]) == (409, "wrong_state")
    assert empty_server.snapshot(LLAMA)["state"] == "ready"
    assert empty_server.get(f"/api/models/{LLAMA}").json()["disk_bytes"] > 0


def test_what_an_interrupted_deletion_left_is_swept(tmp_path: Path) -> None:
    make(tmp_path / "models" / ".deleting-1")
    make(tmp_path / "models" / "org" / ".deleting-2")
    make_cached(tmp_path / "hub").rename(tmp_path / "hub" / "models--.deleting-3")
    catalogue = Catalogue(tmp_path / "models", tmp_path / "hub")
    assert {entry.source for entry in catalogue.entries().values()} == {"demo"}
    deletion.sweep(tmp_path / "models", tmp_path / "hub")
    assert list(tmp_path.rglob("*.safetensors")) == []


def test_a_catalogue_of_many_models_is_scanned_in_little_time(tmp_path: Path) -> None:
    for number in range(300):
        make(tmp_path / "models" / "org" / f"name{number}", size=10)
    catalogue = Catalogue(tmp_path / "models", tmp_path / "hub")
    catalogue.entries()
    catalogue.refresh()
    began = time.monotonic()
    assert len(catalogue.entries()) > 300
    assert time.monotonic() - began < 0.5


def test_a_model_that_loads_keeps_its_partial_download(tmp_path: Path) -> None:
    """Its own process holds the lock of the file: the answer is that it loads, and not that another does."""

    @contextmanager
    def unused() -> Iterator[None]:
        raise wrong_state("org/name", State.LOADING, "Its files are in use.", "Cancel the load first.")
        yield

    repo = make_cached(tmp_path / "hub", partial=True)
    entry = Catalogue(tmp_path / "models", tmp_path / "hub").entries()["org/name"]
    with (repo / "blobs" / "abc.incomplete").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ModelhubError) as caught:
            deletion.delete(entry, tmp_path / "hub", unused)
    assert caught.value.code == "wrong_state"
    assert repo.is_dir()


def test_a_load_under_way_keeps_its_files(app: Flask) -> None:
    lifecycle = registry_of(app).lifecycle
    model_id = "org/name@v2"
    lifecycle._loads.latest[model_id] = Load(LoadSpec(model_id, models_dir="", demo_dir=""), "rest")
    with pytest.raises(ModelhubError) as caught, lifecycle.unused("org/name"):
        pass
    assert caught.value.code == "wrong_state"
    with lifecycle.unused("org/other"):
        pass
    del lifecycle._loads.latest[model_id]


def test_the_server_deletes_and_sweeps_what_an_earlier_one_left(
    start_server: StartServer, tmp_path: Path
) -> None:
    cache = tmp_path / "data0" / "hf" / "hub"
    left = make_cached(cache).rename(cache / "models--.deleting-1")
    make_cached(cache)
    server = start_server(MODELS_DIR=tmp_path)
    wait_until(lambda: not left.exists())
    assert server.delete("/api/files/org/name").json()["freed_bytes"] == 12003
    assert os.listdir(cache) == []
