"""Starts a process of modelhub's own by exec, with a socket to it: nothing of the server is inherited."""

from __future__ import annotations

import os
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Callable

from modelhub.handles import restore_limit


def start_module(
    module: str, environment: dict[str, str], *arguments: str
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Run ``python -m module FD PARENT_PID ...``: the process, and our end of the socket. Raises OSError."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-P", "-m", module, str(theirs.fileno()), str(os.getpid()), *arguments]

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # so that Ctrl-C in the terminal reaches the server only
            env=environment,
        )

    try:
        process = _starter.run(start)
        restore_limit(process.pid)
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    return process, ours


class _Starter:
    """Starts processes in a thread that lives as long as this process.

    A process that dies with its parent (``lifeline.die_with_parent``) dies with the thread that has started
    it: that is the kernel's notion of a parent. The main thread needs no other one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._requests: queue.Queue[Callable[[], None]] = queue.Queue()

    def run(self, start: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        """What ``start`` returns; raises what it raises."""
        if threading.current_thread() is threading.main_thread():
            return start()
        started: list[subprocess.Popen[bytes]] = []
        failures: list[OSError] = []
        done = threading.Event()

        def work() -> None:
            try:
                started.append(start())
            except OSError as error:
                failures.append(error)
            finally:
                done.set()

        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._serve, name="modelhub-starter", daemon=True)
                self._thread.start()
        self._requests.put(work)
        done.wait()
        if failures:
            raise failures[0]
        return started[0]

    def _serve(self) -> None:
        while True:
            self._requests.get()()


_starter = _Starter()
