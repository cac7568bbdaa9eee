"""Fixtures of the loader's tests: they iterate the generator directly, without a server."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from modelhub.loader.preparation import prepare_process
from tests.support import models
from tests.support.hub_server import HubServer

prepare_process(2)


@pytest.fixture(autouse=True)
def _no_real_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache, and a hub address that refuses connections."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf-cache"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")


@pytest.fixture(autouse=True)
def _no_threads_left() -> Iterator[None]:
    """However a load ends, none of its threads is left."""
    yield
    names = {thread.name for thread in threading.enumerate()} - {"modelhub-starter"}  # it always stays
    # A launcher that other tests share has threads named by processes, and starts some at any time.
    assert [name for name in names if name.startswith("modelhub-") and not name[9:].isdecimal()] == []


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with all tiny models; tests must not change it."""
    folder = tmp_path_factory.mktemp("made")
    for name, make in (models.FOUR | models.MORE).items():
        make(folder / name)
    return folder


@pytest.fixture
def copy_of(made: Path, tmp_path: Path) -> Callable[[str], Path]:
    """``copy_of("tiny/bert")`` is a copy in ``tmp_path/models/tiny/bert`` that the test may change."""

    def copy(name: str) -> Path:
        target = tmp_path / "models" / name
        shutil.copytree(made / name, target)
        return target

    return copy


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub on loopback that serves ``tmp_path/hub/org/name``."""
    with HubServer(tmp_path / "hub") as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield server
