"""Events in order and without a gap, through lost connections and restarts of the server."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from typing import Any

from modelhub.cli.server import Server, SocketClient
from modelhub.errors import ModelhubError
from modelhub.payloads import Snapshot
from modelhub.states import EventName

SNAPSHOT, LOST, BACK, TICK = "snapshot", "connection_lost", "connection_back", "tick"
STOPPING = EventName.SERVER_STOPPING.value
_CHANGED = EventName.MODELS_CHANGED.value
TICK_S = 0.1
_LATE_S = 0.3  # after how long an event that was overtaken by the next counts as lost
_RETRY_S = 0.5
PATIENCE_S = 60.0
News = tuple[str, Any]  # the name of an event and its payload: a Snapshot for those of models


def about_server(name: str, payload: Any) -> str | None:
    """News of the server or of the connection to it, in words; None for news of models."""
    if name == STOPPING:
        return str(payload["message"])
    words = {LOST: "The connection to the server is lost; trying again.", BACK: "Connected again."}
    return words.get(name)


class Sequence:
    """The events of one model: puts overtaken ones in order, drops old ones, notices a gap.

    ``may_skip``: the server leaves events out, so that a gap is none.
    """

    def __init__(self) -> None:
        self.may_skip = False
        self._epoch: str | None = None
        self._seq = 0
        self._early: dict[int, News] = {}
        self._gap_since: float | None = None

    def restart(self, snapshot: Snapshot) -> None:
        """Continue from a snapshot."""
        self._epoch, self._seq = snapshot["epoch"], snapshot["seq"]
        self._early.clear()
        self._gap_since = None

    def receive(self, name: str, payload: Snapshot, now: float) -> list[News]:
        """Take an event; return those that are in order now."""
        if payload["epoch"] != self._epoch:
            self._gap_since = float("-inf")
            return []
        if self.may_skip and payload["seq"] > self._seq:
            self._seq = payload["seq"]
            return [(name, payload)]
        if payload["seq"] > self._seq:
            self._early[payload["seq"]] = (name, payload)
        ready: list[News] = []
        while self._seq + 1 in self._early:
            self._seq += 1
            ready.append(self._early.pop(self._seq))
        if not self._early:
            self._gap_since = None
        elif self._gap_since is None or ready:
            self._gap_since = now
        return ready

    def is_broken(self, now: float) -> bool:
        """Whether an event is lost, so that a snapshot is needed."""
        return self._gap_since is not None and now - self._gap_since > _LATE_S


class Feed:
    """The news of some models, or with ``everything`` of all: events, snapshots, changes of the connection.

    ``patience_s`` is after how many seconds without a server ``server_unreachable`` is raised.
    """

    def __init__(
        self, url: str, everything: bool = False, patience_s: float = PATIENCE_S, token: str = ""
    ) -> None:
        self._server = Server(url, token)
        self._sockets = SocketClient(url, token)
        self._everything = everything
        self._patience_s = patience_s
        self._sequences: dict[str, Sequence] = {}
        self._stale: set[str | None] = set()  # models to subscribe to again; None is the dashboard
        self._fresh: list[News] = []

    def __enter__(self) -> Feed:
        self._sockets.connect()
        if self._everything:
            self._stale.add(None)
        return self

    def __exit__(self, *_: object) -> None:
        self._sockets.close()

    def watch(self, model_id: str) -> None:
        """Follow a model; raises ``unknown_model`` while the server does not know it."""
        try:
            self._subscribe(model_id)
        except ConnectionError:
            self._stale.add(model_id)

    def news(self) -> Iterator[News]:
        """(name, payload) of whatever comes, without end.

        Beside the server's events: ``snapshot`` with a model's full state, or with that of all models for the
        dashboard; ``connection_lost``, ``connection_back``, and ``tick`` where nothing came for 0.1 s.
        """
        while True:
            self._fetch_missing()
            while self._fresh:
                yield self._fresh.pop(0)
            try:
                item = self._sockets.news.get(timeout=TICK_S)
            except queue.Empty:
                yield TICK, {}
            else:
                if item is None:
                    yield LOST, {}
                    self._reconnect()
                    yield BACK, {}
                elif item[0] == STOPPING:
                    yield item
                elif item[0] == _CHANGED:  # it names no model
                    self._stale |= {None} if self._everything else set()
                else:
                    self._receive(*item)

    def _receive(self, name: str, payload: Snapshot) -> None:
        sequence = self._sequences.get(payload["id"])
        if sequence is not None:
            self._fresh += sequence.receive(name, payload, time.monotonic())
        elif self._everything:
            self._stale.add(None)

    def _fetch_missing(self) -> None:
        """Fetch a snapshot where something is missing."""
        now = time.monotonic()
        broken = {model_id for model_id, known in self._sequences.items() if known.is_broken(now)}
        if self._everything and (broken or self._stale):
            self._try_subscribe(None)
        elif not self._everything:
            for model_id in broken | self._stale:
                self._try_subscribe(model_id)

    def _reconnect(self) -> None:
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                self._sockets.connect()
                break
            except ModelhubError as error:
                if error.code == "unauthorized" or time.monotonic() > deadline:
                    raise
                time.sleep(_RETRY_S)
        self._stale |= {None} if self._everything else set(self._sequences)

    def _try_subscribe(self, model_id: str | None) -> None:
        """Subscribe again. A server that was restarted may not know the model: then it has no room."""
        try:
            self._subscribe(model_id)
        except ModelhubError as error:
            self._stale.discard(model_id)
            if model_id is not None:
                self._sequences[model_id] = Sequence()
                self._fresh.append((SNAPSHOT, {"id": model_id, "load_id": None, "error": error.to_dict()}))
        except ConnectionError:
            self._stale.add(model_id)  # the loss of the connection is among the news by now

    def _subscribe(self, model_id: str | None) -> None:
        snapshot = self._sockets.subscribe(model_id)
        models = [snapshot]
        if model_id is None:
            # It has those that were loaded. The list, fetched after it, is at least as new.
            try:
                snapshot = {**snapshot, "models": self._server.models()}
            except ModelhubError as error:
                raise ConnectionError(error.message) from None
            self._sequences.clear()
            models = [model["snapshot"] for model in snapshot["models"]]
        for model in models:
            sequence = self._sequences.setdefault(model["id"], Sequence())
            sequence.restart(model)
            sequence.may_skip = bool(snapshot.get("period"))
        self._stale.discard(model_id)
        self._fresh.append((SNAPSHOT, snapshot))
