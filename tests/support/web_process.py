"""A real web process, for tests: it follows a hub over Redis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import requests

from tests.support.server import Server, wait_until


class WebProcess(Server):
    """``modelhub web``; the helpers of ``Server`` that look at its processes are of no use here."""

    def __init__(
        self, folder: Path, redis: str, environ: dict[str, str] | None = None, **settings: Any
    ) -> None:
        super().__init__(folder, environ, REDIS=redis, **settings)
        self.command = ["-m", "modelhub.server", "web"]

    def is_live(self) -> bool:
        """Whether it says that what it shows is of now."""
        return requests.get(f"{self.url}/readyz", timeout=5, headers=self.headers()).status_code == 200

    def headers(self) -> dict[str, str]:
        """What it is sent with each request of ``is_live``."""
        token = self.environ.get("MODELHUB_TOKEN")
        return {"Authorization": f"Bearer {token}"} if token else {}

    def wait_live(self) -> WebProcess:
        """Wait until it follows the hub."""
        wait_until(self.is_live, 20)
        return self

    def wait_not_live(self) -> WebProcess:
        """Wait until it has noticed that nothing is heard of the hub."""
        wait_until(lambda: not self.is_live(), 20)
        return self
