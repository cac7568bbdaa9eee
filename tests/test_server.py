"""The server process itself: how it starts and ends."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.server import ROOT, Server

# An exception raised by the handler would end the thread that runs, here and in a server, and nothing else.
SIGNALLED = """
from modelhub.server import _catch_signals
import os, signal, sys, threading

def work():
    os.kill(os.getpid(), signal.{name})
    sum(range(1000))
    print("the thread goes on")

stopped = _catch_signals()
thread = threading.Thread(target=work)
thread.start()
thread.join()
print(bool(stopped.recv(1)))
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_ends_the_server_and_not_the_thread_that_runs(name: str) -> None:
    code = SIGNALLED.format(name=name)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stdout.splitlines() == ["the thread goes on", "True"]


def start_at(port: int, data_dir: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a server at a port that is taken; it ends by itself."""
    environ = {**os.environ, "MODELHUB_PORT": str(port), "MODELHUB_DATA_DIR": str(data_dir)}
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", [("wsgi.py",), ("-m", "modelhub.server")])
@pytest.mark.parametrize("folder", ["own", "same"])
def test_a_second_server_on_a_port_stops_and_names_the_first(
    server: Server, tmp_path: Path, command: tuple[str, ...], folder: str
) -> None:
    ended = start_at(server.port, tmp_path if folder == "own" else server.data_dir, *command)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == (
        f"modelhub cannot start: Port {server.port} is taken by another modelhub server "
        f"(process {server.pid}). Stop it, or set MODELHUB_PORT to another port."
    )
    assert "Listening" not in ended.stderr
    assert server.get("/livez").ok


def test_a_port_of_another_program_is_named_by_its_process(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = start_at(taken.getsockname()[1], tmp_path, "wsgi.py")
    assert ended.returncode == 1
    assert f"is taken by {psutil.Process().name()} (process {os.getpid()})." in ended.stderr
