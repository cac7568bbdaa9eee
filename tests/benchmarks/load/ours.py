"""modelhub as a client sees it: requests, and events at a raw Socket.IO client."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.benchmarks.load.prompt import PROMPT, generation
from tests.support.rawsocket import RawWatcher
from tests.support.server import Server
from tests.support.truth import TERMINAL


class Refused(Exception):
    """The server does not take the request; the text is its message."""


class Ours:
    """A server whose models folder is ``models``."""

    def __init__(self, data: Path, models: Path, **settings: Any) -> None:
        self.server = Server(data, MODELS_DIR=models, **settings).start().wait_warm()
        self.server.wait_spare()

    def load(self, model_id: str, look: Callable[[dict[str, Any]], None] | None = None, **body: Any) -> float:
        """Seconds from the request to ``model_load_completed``; ``look`` gets each event. Raises Refused."""
        with closing(RawWatcher(self.server.port)) as watcher:
            watcher.subscribe(model_id)
            began = time.monotonic()
            self._post("/api/loads", {"model": model_id, **body})
            name = ""
            while name not in TERMINAL:
                name, payload = watcher.next_event()
                ended = time.monotonic()
                if look is not None:
                    look(payload)
        assert name == "model_load_completed", payload["error"]
        return ended - began

    def unload(self, *model_ids: str) -> None:
        """Unload them, and wait until nothing is rehearsed while others are measured."""
        for model_id in model_ids:
            response = self.server.delete(f"/api/models/{model_id}")
            assert response.ok, response.text
        self.server.wait_spare()

    def first(self, model_id: str) -> float:
        """Seconds of a load; unloads."""
        seconds = self.load(model_id)
        self.unload(model_id)
        return seconds

    def again(self, model_id: str, rest_s: float) -> float:
        """Seconds of a load of a model that was in memory until ``rest_s`` seconds ago; unloads."""
        self.first(model_id)
        time.sleep(rest_s)
        return self.first(model_id)

    def swap(self, model_id: str, instead_of: str, rest_s: float) -> float:
        """Seconds of one request for a model, unloaded before, in the place of one in memory; unloads."""
        self.first(model_id)
        self.load(instead_of)
        time.sleep(rest_s)
        try:
            seconds = self.load(model_id, replaces=[instead_of])
        except Refused:
            self.unload(instead_of)
            raise
        self.unload(model_id)
        return seconds

    def decode(self, model_id: str, count: int) -> float:
        """Tokens per second that predictions generate one by one; loads and unloads."""
        self.load(model_id)
        self._predict(model_id, 2)
        one, all_of_them = self._predict(model_id, 1), self._predict(model_id, count)
        self.unload(model_id)
        return (count - 1) / (all_of_them - one)

    def _predict(self, model_id: str, count: int) -> float:
        began = time.monotonic()
        body = {"model": model_id, "inputs": PROMPT, "parameters": generation(count)}
        self._post("/api/predictions", body)
        return time.monotonic() - began

    def _post(self, path: str, body: dict[str, Any]) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=120)) as connection:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read().decode()
        if 400 <= response.status < 500:
            raise Refused(json.loads(text)["error"]["message"])
        assert response.status < 300, text
