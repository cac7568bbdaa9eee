"""A hub and those that follow it in the process of the test: real REST and Redis, and loads that are told."""

from __future__ import annotations

import threading
from typing import Any

from flask import Flask
from werkzeug.serving import make_server

from modelhub.checkpoints import describe_step
from modelhub.payloads import Snapshot
from modelhub.progress.adapter import ProgressAdapter
from modelhub.states import EventName
from modelhub.web.current import registry_of
from modelhub.web.follower import Follower
from modelhub.web.mirror import Mirror
from tests.support.expecting import expecting
from tests.support.server import wait_until
from tests.support.truth import TERMINAL

SIZE = 10**9


def spawn(function: Any, *args: Any) -> None:
    """Start a thread."""
    threading.Thread(target=function, args=args, daemon=True).start()


class Served:
    """An application that is served at a port of its own, and whose loads the test tells."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.registry = registry_of(app)
        self.adapter = self.registry.adapter
        settings = self.registry.settings
        self.http = make_server(settings.host, settings.port, app, threaded=True)
        self.registry.start()
        spawn(self.http.serve_forever, 0.02)

    def begin(self, model_id: str, load_id: str = "load") -> None:
        """A load begins."""
        self.adapter.queued(model_id, load_id, 1)
        self.adapter.started(model_id, load_id, *expecting(SIZE))

    def step(self, model_id: str, step: int, done: int = 0) -> None:
        """It comes to a step, whose first event is never held back."""
        message = describe_step(step).message
        self.adapter.emit_progress(model_id, step, message, done, SIZE, "bytes")

    def end(self, model_id: str) -> None:
        """It has completed."""
        self.adapter.completed(model_id, {})  # type: ignore[typeddict-item]

    def load(self, model_id: str, load_id: str = "load") -> None:
        """A whole load."""
        self.begin(model_id, load_id)
        for step in range(1, 10):
            self.step(model_id, step)
        self.end(model_id)

    def close(self) -> None:
        """Serve no more; the registry is closed by who has made the application."""
        self.http.shutdown()
        self.http.server_close()


class Following:
    """What a web process does: follows, and emits; ``events`` is what its clients would be sent."""

    def __init__(self, redis: str, secret: str) -> None:
        self.events: list[tuple[str, Snapshot]] = []
        self.news = threading.Condition()
        self.lives: list[bool] = []
        self.mirror = Mirror(ProgressAdapter(self._emit), hub="")
        self.mirror.on_live.append(self.lives.append)
        self.changes = 0
        self.mirror.on_change.append(self._count)
        self.follower = Follower(redis, lambda: secret, self.mirror)
        self.follower.start(spawn)

    def wait_live(self) -> Following:
        """Wait until it follows."""
        wait_until(lambda: self.mirror.is_live, 10)
        return self

    def wait_for_ends(self, count: int, timeout_s: float = 10) -> None:
        """Wait for the terminal events of so many loads."""
        with self.news:
            assert self.news.wait_for(lambda: len(self.of(*TERMINAL)) >= count, timeout_s), self.names()

    def of(self, *names: str) -> list[Snapshot]:
        """The payloads of the events of these names, so far."""
        return [payload for name, payload in self.events if name in names]

    def names(self) -> list[str]:
        """The names of the events so far."""
        return [str(name) for name, _ in self.events]

    def close(self) -> None:
        """Follow no more."""
        self.follower.close()

    def _emit(self, name: EventName, payload: Snapshot, rooms: list[str]) -> None:
        with self.news:
            self.events.append((name, payload))
            self.news.notify_all()

    def _count(self) -> None:
        self.changes += 1
