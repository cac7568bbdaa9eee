"""/metrics: what the server has done and how it is, for Prometheus; docs/metrics.md explains each series.

Each application has a registry of its own. Where a token is asked for, it is here too: that to watch will do.
"""

from __future__ import annotations

from flask import Blueprint, Flask, Response, current_app
from prometheus_client import CollectorRegistry, Counter, Info, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from modelhub.payloads import Snapshot
from modelhub.states import EventName
from modelhub.web.gauges import Gauges
from modelhub.web.load_counts import LoadCounts

_EXTENSION = "modelhub_metrics"
blueprint = Blueprint("metrics", __name__)
_DESCRIBED = {
    "tags": ["api"],
    "summary": "Metrics in the text format of Prometheus.",
    "responses": {
        "200": {
            "description": "The metrics.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
        "default": {"$ref": "#/components/responses/DEFAULT_ERROR"},
    },
}


class Metrics:
    """The metrics of one application. ``counts_loads``: it is the process that loads models."""

    def __init__(self, app: Flask, version: str, counts_loads: bool) -> None:
        self.registry = CollectorRegistry()
        self._loads = LoadCounts(self.registry) if counts_loads else None
        self._events = Counter(
            "modelhub_events", "Events about models that were sent.", ("event",), registry=self.registry
        )
        for name in EventName:
            if name not in (EventName.MODELS_CHANGED, EventName.SERVER_STOPPING):
                self._events.labels(name.value)
        Info("modelhub_build", "The version of modelhub.", registry=self.registry).info({"version": version})
        ProcessCollector(registry=self.registry)
        self.registry.register(Gauges(app))

    def take(self, name: EventName, payload: Snapshot) -> None:
        """Count an event that is sent."""
        self._events.labels(name.value).inc()
        if self._loads is not None:
            self._loads.take(name, payload)


def init_app(app: Flask, version: str, counts_loads: bool = True) -> None:
    """Serve /metrics, and describe it in the OpenAPI document; ``version`` is that of modelhub."""
    app.extensions[_EXTENSION] = Metrics(app, version, counts_loads)
    app.register_blueprint(blueprint)
    (rule,) = app.url_map.iter_rules("metrics.show")
    app.extensions["modelhub_api"].spec.path(rule=rule, operations={"get": _DESCRIBED})


def metrics_of(app: Flask) -> Metrics:
    """The metrics of ``app``: give them each event that is sent."""
    metrics: Metrics = app.extensions[_EXTENSION]
    return metrics


@blueprint.get("/metrics")
def show() -> Response:
    """All metrics, as of now."""
    text = generate_latest(metrics_of(current_app).registry)
    return Response(text, content_type=CONTENT_TYPE_PLAIN_0_0_4, headers={"Cache-Control": "no-store"})
