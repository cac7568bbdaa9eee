"""Starts a process of modelhub's own by exec, with a socket to it: nothing of the server is inherited."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from modelhub.handles import restore_limit


def start_module(
    module: str, environment: dict[str, str], *arguments: str
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Run ``python -m module FD PARENT_PID ...``: the process, and our end of the socket. Raises OSError."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-P", "-m", module, str(theirs.fileno()), str(os.getpid()), *arguments]
    try:
        process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # so that Ctrl-C in the terminal reaches the server only
            env=environment,
        )
        restore_limit(process.pid)
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    return process, ours
