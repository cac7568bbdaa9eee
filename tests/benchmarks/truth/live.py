"""What a real Socket.IO client sees of one load, by its own clock."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any, NamedTuple

from tests.benchmarks.truth.traces import Sight
from tests.support.server import Server
from tests.support.truth import TERMINAL
from tests.support.watcher import Watcher

_STARTED = "model_load_started"
_FIELDS = ("progress", "eta", "eta_low", "eta_high", "step", "stalled_for")
_TIMEOUT_S = 300


class Watched(NamedTuple):
    """A load as its watcher saw it; ``ended`` is the payload of its last event, ``error`` its failure."""

    load_id: str
    sights: list[Sight]
    ended: dict[str, Any]
    error: str | None


def watch(
    server: Server, model_id: str, meanwhile: Callable[[Watcher], None] = lambda watcher: None, **body: Any
) -> Watched:
    """Request a load and watch it to its end; ``meanwhile`` runs once it is requested.

    ``body`` is more of the request's. Raises AssertionError where it is refused or takes too long.
    """
    with closing(Watcher(server.url)) as watcher:
        watcher.subscribe()  # to all: a model that is to be fetched has no room yet
        load_id = server.request_load(model_id, **body)["load_id"]
        meanwhile(watcher)
        ended = watcher.wait_for(*TERMINAL, model_id=model_id, timeout_s=_TIMEOUT_S)
    assert ended["load_id"] == load_id
    error = None if ended["error"] is None else f"{ended['error']['code']}: {ended['error']['message']}"
    return Watched(load_id, _sights(watcher, load_id), ended, error)


def has_read(model_id: str, step: int, part: float) -> Callable[[list[tuple[str, dict[str, Any]]]], bool]:
    """Whether so much of the bytes of a step is there, by the events so far; for ``Watcher.wait_until``."""

    def holds(events: list[tuple[str, dict[str, Any]]]) -> bool:
        payloads = [payload for _, payload in events if payload["id"] == model_id]
        return any(
            payload["step"] == step and payload["size"] and (payload["done"] or 0) >= part * payload["size"]
            for payload in payloads
        )

    return holds


def _sights(watcher: Watcher, load_id: str) -> list[Sight]:
    seen = [
        (at, name, payload)
        for at, (name, payload) in zip(watcher.times, watcher.events, strict=True)
        if payload["load_id"] == load_id
    ]
    began = next(at for at, name, _ in seen if name == _STARTED)
    return [
        [round(at - began, 4), *(payload[field] for field in _FIELDS)]
        for at, name, payload in seen
        if name == _STARTED or at > began
    ]
