"""A real Redis of a test: it keeps nothing, and can be killed and started again on its port."""

from __future__ import annotations

import signal
import subprocess
import time
from typing import Any

from modelhub.progress.redis_link import connect, failures
from tests.support.server import free_port, wait_until


class RedisServer:
    """``redis-server`` without a file: one that was killed is empty when it is started again."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> RedisServer:
        """Start it, and wait until it responds."""
        options = ("--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
        self.process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
        wait_until(self._responds, 10)
        return self

    def kill(self) -> None:
        """Kill it."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def away(self, seconds: float) -> None:
        """Kill it, and start an empty one after so long."""
        self.kill()
        time.sleep(seconds)
        self.start()

    def client(self) -> Any:
        """A client of it."""
        return connect(self.url)

    def hang(self, seconds: float) -> None:
        """Stop it for so long; what it was sent meanwhile it does then."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.process.send_signal(signal.SIGCONT)

    def _responds(self) -> bool:
        client = self.client()
        try:
            return bool(client.ping())
        except failures():
            return False
        finally:
            client.close()
