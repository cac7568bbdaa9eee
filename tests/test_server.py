"""The server process itself: how it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server import ROOT, free_port

# Its green threads are nearly always the ones that run when a signal comes.
BUSY_SERVER = """
from modelhub.server import serve, start
import threading, time

def work():
    while True:
        sum(range(20_000))
        time.sleep(0)

app = start()
for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
serve(app)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_whichever_thread_runs(tmp_path: Path, number: signal.Signals) -> None:
    environ = {"MODELHUB_DATA_DIR": str(tmp_path), "MODELHUB_PORT": str(free_port()), "PATH": "/usr/bin:/bin"}
    server = subprocess.Popen(
        [sys.executable, "-c", BUSY_SERVER], cwd=ROOT, env=environ, stderr=subprocess.PIPE, text=True
    )
    assert server.stderr is not None
    assert any("Listening" in line for line in server.stderr)
    server.send_signal(number)
    _, errors = server.communicate(timeout=20)
    assert server.returncode == 0
    assert "Traceback" not in errors
