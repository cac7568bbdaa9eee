"""Forks processes whose parent is the server, not the process that forks them.

The end of the zygote, or of a kept model, then ends none of its workers, and the server alone kills and reaps
them. A child in between ends at once; the kernel gives its child to the server, which has asked for such
(``lifeline.adopt_orphans``). Where that does not exist (macOS) it is the first process of the system.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import NoReturn

from modelhub.workers.lifeline import die_with_parent, give_way

_POLL_S = 0.0005


def fork_for_server(server_pid: int, work: Callable[[], None]) -> int:
    """Fork a process of the server that runs ``work`` and exits; returns its id.

    It dies with the server. Raises OSError where the system refuses to start it.
    """
    reading, writing = os.pipe()
    try:
        between = os.fork()
        if between == 0:
            os.close(reading)
            _fork_and_exit(writing, server_pid, work)
    except OSError:
        os.close(writing)
        os.close(reading)
        raise
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(between, 0)
    number = int(answer or b"0")
    if number <= 0:
        raise OSError(-number, os.strerror(-number) if number else "the process in between has ended")
    return number


def _fork_and_exit(writing: int, server_pid: int, work: Callable[[], None]) -> NoReturn:
    """In between: fork, write the id of the process, or minus the number of the error, and exit."""
    between = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:
        pid = -(error.errno or 0)
    if pid == 0:
        os.close(writing)
        _run(between, server_pid, work)
    os.write(writing, str(pid).encode())
    os._exit(0)


def _run(between: int, server_pid: int, work: Callable[[], None]) -> NoReturn:
    status = 1
    try:
        while os.getppid() == between:
            time.sleep(_POLL_S)
        if sys.platform == "linux":
            die_with_parent(server_pid)
        give_way()
        work()
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(status)
