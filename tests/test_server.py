"""The server process itself: how it ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.server import ROOT

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
