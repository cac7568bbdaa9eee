"""The server's handle to the process that reads weights ahead."""

from __future__ import annotations

import logging
import socket
import subprocess
import threading
from dataclasses import asdict

from modelhub.checkpoints import LoadSpec
from modelhub.workers.channel import Channel
from modelhub.workers.restart import wait_or_kill
from modelhub.workers.start import start_module

log = logging.getLogger(__name__)
_EXIT_TIMEOUT_S = 2.0


class ReadAheadProcess:
    """Starts the process with ``environment`` at first use, and again if it has ended.

    Without it, a load reads by itself, so nothing here raises. Any thread may call any method.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The id of the process, if it runs."""
        process = self._process
        return None if process is None else process.pid

    def start(self) -> None:
        """Start the process if it does not run."""
        with self._lock:
            if self._closed or (self._process is not None and self._process.poll() is None):
                return
            self._discard()
            try:
                self._process, control = start_module("modelhub.workers.reader", self._environment)
                self._channel = Channel(control)
            except OSError as error:
                log.warning("Weights are not read ahead: %s", error.strerror)

    def read(self, spec: LoadSpec) -> socket.socket | None:
        """Have it read the weights of ``spec``: the socket for the worker that loads it, see ``shared``."""
        self.start()
        channel = self._channel
        if channel is None:
            return None
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            log.warning("Weights are not read ahead: %s", error.strerror)
            return None
        try:
            channel.send_with_fd({"op": "read", "spec": asdict(spec)}, theirs.fileno())
        except OSError:
            ours.close()
            return None
        finally:
            theirs.close()
        return ours

    def close(self) -> None:
        """End the process, and wait for its exit."""
        with self._lock:
            self._closed = True
            self._discard()

    def _discard(self) -> None:
        channel, process = self._channel, self._process
        self._channel = self._process = None
        if channel is not None:
            channel.close()
        if process is not None:
            wait_or_kill(process, _EXIT_TIMEOUT_S)
