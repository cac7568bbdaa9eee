"""What /metrics shows of the present: read when it is asked for, from the registry of the application."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from flask import Flask
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from modelhub.core.registry import Registry
from modelhub.core.tally import KINDS
from modelhub.payloads import NodeStatus
from modelhub.progress.adapter import DASHBOARD_ROOM, room_of
from modelhub.states import MODEL_STATES, NodeState, Outcome, State
from modelhub.web.current import reading_of
from modelhub.web.fanout import Fanout
from modelhub.web.hub import publisher_of
from modelhub.web.sockets import PAGES
from modelhub.web.sse import streams_of

ZYGOTE_STATES = ("cold", "warming", "warm")
ROOMS = {
    "dashboard": DASHBOARD_ROOM,
    "dashboard_page": PAGES + DASHBOARD_ROOM,
    "model": room_of(""),
    "model_page": PAGES + room_of(""),
}
PREDICTION_CODES = (
    *("unknown_model", "wrong_state", "too_busy", "bad_inputs", "prediction_failed", "prediction_timeout"),
    *("killed", "crashed", "out_of_memory", "device_out_of_memory", "worker_unavailable", "internal"),
)


class Gauges:
    """A collector of prometheus_client; a process that loads nothing leaves out what it does not know."""

    def __init__(self, app: Flask) -> None:
        self._app = app

    def collect(self) -> Iterator[Metric]:
        """All of it, as of now."""
        registry = reading_of(self._app)
        yield from _watchers(self._app)
        yield from _drops(self._app, registry.adapter.rejected)
        if isinstance(registry, Registry):
            yield from _models(registry)
            yield from of_nodes(registry.lifecycle.nodes())
            yield from _predictions(registry)
        else:
            yield GaugeMetricFamily(
                "modelhub_hub_live", "1 where the web process hears of its hub.", int(not registry.away())
            )
        troubles = len(registry.degraded())
        yield GaugeMetricFamily(
            "modelhub_degraded", "How many things do not work as they should, see /readyz.", troubles
        )


def _models(registry: Registry) -> Iterator[Metric]:
    states = dict.fromkeys(MODEL_STATES, 0)
    requests = {"running": 0, "waiting": 0}
    for model_id in registry.adapter.known():
        snapshot = registry.adapter.snapshot(model_id)
        states[snapshot["state"]] += 1
        for use in (snapshot["use"], *snapshot["replicas"]):
            if use is not None:
                requests["running"] += use["running"]
                requests["waiting"] += use["waiting"]
    del states[State.ABSENT]  # those on the disk that were never loaded are not among them
    yield _gauge("modelhub_models", "Models by state, but for absent ones.", "state", states.items())
    yield GaugeMetricFamily(
        "modelhub_queue_length", "How many loads wait for their turn.", states[State.QUEUED]
    )
    yield _gauge(
        "modelhub_requests", "Requests that models work on or have waiting.", "state", requests.items()
    )
    yield GaugeMetricFamily(
        "modelhub_prepared_models", "Models that are kept prepared.", len(registry.prepared())
    )


def of_nodes(nodes: Iterable[NodeStatus]) -> Iterator[Metric]:
    """What there is to say of machines that load models."""
    memory = GaugeMetricFamily(
        "modelhub_memory_bytes", "The memory that models could have, by owner.", labels=("node", "owner")
    )
    states, zygotes, spares = dict.fromkeys(NodeState, 0), dict.fromkeys(ZYGOTE_STATES, 0), 0
    for node in nodes:
        states[NodeState(node["state"])] += 1
        if node["state"] not in (NodeState.READY, NodeState.DRAINING):
            continue
        zygotes[node["workers"]["state"]] += 1
        spares += node["workers"]["spare"] is not None
        used = node["models"], node["loading"], node["free"]
        other = max(0, node["total"] - sum(used))
        for owner, size in zip(("models", State.LOADING.value, "free", "other"), (*used, other), strict=True):
            memory.add_metric((node["name"], owner), size)
    yield memory
    yield _gauge("modelhub_nodes", "Machines that load models, by state.", "state", states.items())
    yield _gauge("modelhub_zygotes", "Processes that fork workers, by state.", "state", zygotes.items())
    yield GaugeMetricFamily("modelhub_spares", "Processes that are ready for the next load.", spares)


def _predictions(registry: Registry) -> Iterator[Metric]:
    predictions = CounterMetricFamily(
        "modelhub_predictions",
        "Predictions that have ended; code is that of the error of those that failed.",
        labels=("kind", "outcome", "code"),
    )
    counted = dict.fromkeys(
        (kind, outcome.value, code)
        for kind in KINDS
        for outcome in (Outcome.COMPLETED, Outcome.CANCELLED, Outcome.FAILED)
        for code in (PREDICTION_CODES if outcome == Outcome.FAILED else ("",))
    )
    for labels, count in {**dict.fromkeys(counted, 0), **registry.tally.predictions}.items():
        predictions.add_metric(labels, count)
    yield predictions
    yield CounterMetricFamily(
        "modelhub_tokens_written", "Tokens of text that were sent to who asked for it.", registry.tally.tokens
    )


def _watchers(app: Flask) -> Iterator[Metric]:
    manager: Any = app.extensions["socketio"].server.manager
    rooms: list[tuple[str | None, Any]] = list(manager.rooms.get("/", {}).items())
    subscriptions = dict.fromkeys(ROOMS, 0)
    for name, clients in rooms:
        kind = next((kind for kind, begin in ROOMS.items() if (name or "").startswith(begin)), None)
        if kind is not None:
            subscriptions[kind] += len(clients)
    connections = sum(len(clients) for name, clients in rooms if name is None)
    yield GaugeMetricFamily("modelhub_socketio_connections", "Socket.IO clients.", connections)
    yield _gauge(
        "modelhub_subscriptions", "Socket.IO subscriptions, by kind of room.", "room", subscriptions.items()
    )
    yield GaugeMetricFamily(
        "modelhub_event_streams", "Streams of server-sent events.", streams_of(app).count()
    )


def _drops(app: Flask, rejected: int) -> Iterator[Metric]:
    manager = app.extensions["socketio"].server.manager
    drops = CounterMetricFamily(
        "modelhub_events_dropped",
        "Events that were rejected before they were sent, and messages that clients were not sent.",
        labels=("reason",),
    )
    drops.add_metric(("rejected",), rejected)
    if isinstance(manager, Fanout):
        drops.add_metric(("superseded",), manager.drops.superseded)
        drops.add_metric(("unread",), manager.drops.unread)
    publisher = publisher_of(app)
    drops.add_metric(("unpublished",), 0 if publisher is None else publisher.dropped)
    yield drops
    clients = manager.drops.clients if isinstance(manager, Fanout) else 0
    yield CounterMetricFamily("modelhub_clients_dropped", "Clients that read too slowly.", clients)


def _gauge(name: str, text: str, label: str, values: Iterable[tuple[str, int]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=(label,))
    for value, count in values:
        family.add_metric((str(value),), count)
    return family
