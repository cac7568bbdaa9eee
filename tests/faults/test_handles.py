"""Handles run out: connections that send nothing, and a limit that is reached all the same."""

from __future__ import annotations

import resource
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest
import requests

from tests.support.ids import BERT, LLAMA
from tests.support.invariants import check_invariants
from tests.support.server import Server, wait_until
from tests.support.types import Watch

SET, HANDLES = 200, 256  # the limit that the server is started with, and the one that it may raise it to
REFUSED = "could not be accepted"
FULL = "new ones take the place of those that have waited longest"


@pytest.fixture(scope="module")
def limited(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that may have few handles open."""
    server = Server(tmp_path_factory.mktemp("limited"), MODELS_DIR=models_dir)
    server.command = ["-c", f'ulimit -S -n {SET}; ulimit -H -n {HANDLES}; exec "$0" wsgi.py', sys.executable]
    server.python = "sh"
    server.start().wait_warm()
    yield server
    server.stop()


@contextmanager
def silent(server: Server, count: int) -> Iterator[list[socket.socket]]:
    """So many connections that send nothing."""
    with ExitStack() as stack:
        yield [stack.enter_context(connection(server)) for _ in range(count)]


def connection(server: Server) -> socket.socket:
    """A new connection, whether or not the server accepts it."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def tcp_handles(server: Server) -> int:
    """How many connections the server has open."""
    return len(psutil.Process(server.pid).net_connections("tcp"))


def test_loads_go_on_while_more_connections_stand_idle_than_there_are_handles(
    limited: Server, watch: Watch
) -> None:
    watcher = watch(limited)
    assert watcher.subscribe(BERT)["ok"]
    with requests.Session() as browser:  # a connection that was open before
        assert browser.get(f"{limited.url}/livez", timeout=30).ok
        with silent(limited, 400):
            assert limited.load(BERT)["state"] == "ready"  # each request comes by a connection of its own
            assert browser.get(f"{limited.url}/livez", timeout=30).ok
            assert tcp_handles(limited) < HANDLES
            inputs = {"model": BERT, "inputs": "Two plus two is [MASK]."}
            assert limited.post("/api/predictions", inputs).ok
            watcher.wait_for("model_load_completed")  # it was never cut
            assert limited.delete(f"/api/models/{BERT}").ok
            watcher.wait_for("model_unloaded")
    wait_until(lambda: tcp_handles(limited) < 20)
    assert limited.load(LLAMA)["state"] == "ready"
    limited.unload_all()
    assert limited.log().count(FULL) == 1
    check_invariants(limited)


def test_a_connection_that_cannot_be_accepted_ends_nothing_and_costs_little(limited: Server) -> None:
    assert limited.load(BERT)["state"] == "ready"
    limited.wait_spare()
    process = psutil.Process(limited.pid)
    _, hard = resource.prlimit(limited.pid, resource.RLIMIT_NOFILE)
    with requests.Session() as browser:
        assert browser.get(f"{limited.url}/livez", timeout=30).ok
        resource.prlimit(limited.pid, resource.RLIMIT_NOFILE, (0, hard))  # what is open stays so
        response = browser.post(f"{limited.url}/api/loads", json={"model": LLAMA}, timeout=30)
        assert response.status_code == 202
        with silent(limited, 40):
            percent = process.cpu_percent(interval=1.0)
    resource.prlimit(limited.pid, resource.RLIMIT_NOFILE, (hard, hard))
    assert percent < 50
    assert limited.wait_state(LLAMA, ("failed",))["error"]["code"] == "worker_unavailable"
    assert limited.snapshot(BERT)["state"] == "ready"
    assert limited.load(LLAMA)["state"] == "ready"
    assert limited.log().count(REFUSED) <= 1
    limited.unload_all()
    check_invariants(limited)


def test_the_processes_of_models_have_the_limit_that_was_set_for_the_server(limited: Server) -> None:
    """They may use select(), which knows the first 1,024 handles only."""
    limited.wait_spare()
    assert resource.prlimit(limited.pid, resource.RLIMIT_NOFILE) == (HANDLES, HANDLES)
    children = psutil.Process(limited.pid).children(recursive=True)
    assert len(children) >= 3  # zygote, reader, spare
    limits = {resource.prlimit(child.pid, resource.RLIMIT_NOFILE) for child in children}
    assert limits == {(SET, HANDLES)}
    check_invariants(limited)
