"""A real Socket.IO client, for tests."""

from __future__ import annotations

import threading
import time
from typing import Any

import socketio

from modelhub.states import EventName
from tests.support.truth import TERMINAL


class Watcher:
    """A Socket.IO client over a real WebSocket that keeps every event it gets, in order."""

    def __init__(self, url: str, transports: tuple[str, ...] = ("websocket",)) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.times: list[float] = []
        self._news = threading.Condition()
        self.client = socketio.Client(reconnection=False)
        for name in EventName:
            if name not in (EventName.MODELS_CHANGED, EventName.SERVER_STOPPING):
                self.client.on(name.value, self._keeper(name.value))
        self.client.connect(url, transports=list(transports))

    def subscribe(self, model_id: str | None = None) -> dict[str, Any]:
        """Join a model's room, or the dashboard's; returns the acknowledgement."""
        answer = self.client.call("subscribe", {} if model_id is None else {"id": model_id}, timeout=20)
        return dict(answer)

    def wait_for(self, *names: str, model_id: str | None = None, timeout_s: float = 90) -> dict[str, Any]:
        """Wait for an event of one of these names; returns the newest payload of them."""

        def found() -> list[dict[str, Any]]:
            return [p for name, p in self.events if name in names and model_id in (None, p["id"])]

        with self._news:
            assert self._news.wait_for(lambda: bool(found()), timeout_s), f"no {names} in {self.names()}"
            return found()[-1]

    def wait_until(self, condition: Any, timeout_s: float = 90) -> None:
        """Wait until ``condition(events)`` holds."""
        with self._news:
            assert self._news.wait_for(lambda: condition(self.events), timeout_s), self.names()

    def end_of(self, load_id: str, timeout_s: float = 30) -> tuple[float, dict[str, Any]]:
        """Wait for the one terminal event of a load; returns when it came, and its payload."""

        def found(events: list[tuple[str, dict[str, Any]]]) -> list[int]:
            return [
                place
                for place, (name, payload) in enumerate(events)
                if name in TERMINAL and payload["load_id"] == load_id
            ]

        self.wait_until(found, timeout_s)
        (place,) = found(self.events)
        return self.times[place], self.events[place][1]

    def names(self) -> list[str]:
        """The names of the events so far."""
        return [name for name, _ in self.events]

    def of(self, model_id: str) -> list[tuple[str, dict[str, Any]]]:
        """The events of one model so far."""
        return [(name, payload) for name, payload in self.events if payload["id"] == model_id]

    def close(self) -> None:
        """Disconnect."""
        self.client.disconnect()

    def _keeper(self, name: str) -> Any:
        def keep(payload: dict[str, Any]) -> None:
            with self._news:
                place = len(self.events)
                for index in range(
                    place - 1, -1, -1
                ):  # the client hands events out in threads: put them in order
                    earlier = self.events[index][1]
                    if earlier["id"] == payload["id"] and earlier["epoch"] == payload["epoch"]:
                        if earlier["seq"] < payload["seq"]:
                            break
                        place = index
                self.times.insert(place, time.monotonic())
                self.events.insert(place, (name, payload))
                self._news.notify_all()

        return keep
