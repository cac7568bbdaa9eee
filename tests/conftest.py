"""Fixtures that more than one test module uses."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from modelhub import create_app
from modelhub.states import State
from modelhub.web.current import registry_of
from modelhub.web.paced import MANY
from tests.support import published, wheel
from tests.support.locked import LockedServer
from tests.support.many import make_many
from tests.support.no_zygote import start_no_zygote
from tests.support.server import Server, wait_until
from tests.support.types import MakeApp, StartServer, Watch
from tests.support.watcher import Watcher
from tests.support.wire import Wire


@pytest.fixture
def make_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeApp]:
    """Makes applications in this process, with settings of their own: ``make_app(TOKEN=...)``."""
    made: list[Flask] = []

    def make(**settings: Any) -> Flask:
        folder = tmp_path / f"app{len(made)}" if made else tmp_path
        (folder / "data").mkdir(parents=True)  # so that a test can write a journal before the first request
        given = {"DATA_DIR": folder / "data", "MODELS_DIR": folder / "models", **settings}
        app = create_app({"TESTING": True, **{f"MODELHUB_{name}": str(one) for name, one in given.items()}})
        # The first request would start the zygote, a process that imports torch.
        start_no_zygote(registry_of(app), monkeypatch)
        made.append(app)
        return app

    yield make
    for app in made:
        registry_of(app).close()


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """The application in this process, with a journal of its own, the demo models, and no loads.

    For responses that need neither transport nor a worker process; for those use ``server``.
    """
    return make_app()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Sends requests to ``app``, as a browser on this machine: it keeps cookies."""
    return app.test_client()


@pytest.fixture(scope="session")
def minilm_dir(request: pytest.FixtureRequest) -> Path:
    """The files of the published all-MiniLM-L6-v2."""
    return published.minilm(Path(request.config.cache.mkdir("published")))


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory, minilm_dir: Path) -> Path:
    """A folder of tiny real models, one of each of four architectures, one too big, and MiniLM."""
    from tests.support import models

    folder = tmp_path_factory.mktemp("models")
    for name, make in models.FOUR.items():
        make(folder / name)
    models.make_sparse_llama(folder / "tiny" / "too-big", 2**34)
    shutil.copytree(minilm_dir, folder / "published" / "minilm")
    return folder


@pytest.fixture(scope="session")
def server(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the tiny models, warm, shared by the tests that leave it as it was."""
    running = Server(tmp_path_factory.mktemp("data"), MODELS_DIR=models_dir).start().wait_warm()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def running_large_server(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """For ``large_server``."""
    folder = make_many(tmp_path_factory.mktemp("many") / "models", MANY)
    shutil.copytree(models_dir / "tiny", folder / "tiny", ignore=shutil.ignore_patterns("too-big"))
    running = Server(folder.parent / "data", MODELS_DIR=folder, LOG="json").start().wait_warm()
    wait_until(lambda: running.get("/api/models?limit=1").json()["total"] > MANY)  # the folders were scanned
    yield running
    running.stop()


@pytest.fixture
def large_server(running_large_server: Server) -> Server:
    """A server with more than 200 models, none of them in memory: the rooms of dashboards are paced.

    Its log is JSON.
    """
    watcher = Watcher(running_large_server.url)
    for model in watcher.subscribe()["snapshot"]["models"]:
        if model["state"] == State.READY:
            running_large_server.delete(f"/api/models/{model['id']}")
    watcher.close()
    return running_large_server


@pytest.fixture(scope="session")
def locked_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LockedServer]:
    """A server that others reach, and that asks for tokens."""
    running = LockedServer(tmp_path_factory.mktemp("locked"))
    running.start()
    yield running
    running.stop()


@pytest.fixture
def empty_server(server: Server) -> Server:
    """The shared server, with no model in memory."""
    server.unload_all()
    return server


@pytest.fixture
def start_server(models_dir: Path, tmp_path: Path) -> Iterator[StartServer]:
    """Starts servers with settings of their own: ``start_server(STALL_SECONDS=1)``."""
    started: list[Server] = []

    def start(environ: dict[str, str] | None = None, **settings: Any) -> Server:
        folder = settings.pop("DATA_DIR", tmp_path / f"data{len(started)}")
        server = Server(folder, environ, **{"MODELS_DIR": models_dir, **settings}).start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def watch(request: pytest.FixtureRequest) -> Iterator[Watch]:
    """Opens Socket.IO clients: ``watch(server)``."""
    opened: list[Watcher] = []

    def open_watcher(server: Server, *transports: str) -> Watcher:
        watcher = Watcher(server.url, transports or ("websocket",))
        opened.append(watcher)
        return watcher

    yield open_watcher
    for watcher in opened:
        watcher.close()


@pytest.fixture
def wire(empty_server: Server) -> Iterator[Wire]:
    """A connection to the shared server that can be cut, held and mended."""
    wire = Wire(empty_server.port)
    yield wire
    wire.close()


@pytest.fixture(scope="session")
def built_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    built = wheel.build(wheel.copy_sources(folder / "sources"), folder)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def installed(built_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the commands of an environment in which the wheel is installed."""
    return wheel.install(built_wheel, tmp_path_factory.mktemp("installed") / "environment")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped test is a failure: everything it needs is there."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    if skipped and os.environ.get("MODELHUB_NO_SKIPS"):
        print(f"\n{len(skipped)} tests were skipped that should have run.")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
