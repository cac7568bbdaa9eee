"""Server-sent events of one load: the same log that the rooms are told from, for those without Socket.IO."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Flask, Response, current_app, request

from modelhub.core.load import ACTIVE
from modelhub.core.registry import Hub
from modelhub.progress.log import Event, ModelLog

_KEEP_ALIVE_S = 5.0
blueprint = Blueprint("stream", __name__)


def init_app(app: Flask) -> None:
    """Serve the streams."""
    app.register_blueprint(blueprint)


@blueprint.get("/api/loads/<load_id>/events")
def events(load_id: str) -> Response:
    """The events of a load, until the one that ends it; goes on behind the Last-Event-ID header."""
    hub: Hub = current_app.extensions["modelhub"]
    load = hub.load(load_id)
    model_log = hub.adapter.log_of(load["model_id"])
    after = _last_seen(hub.epoch, request.headers.get("Last-Event-ID", ""))
    if not _is_active(load) and not _of_load(model_log.after(after, 0), load_id):
        return Response(status=204)  # tells an EventSource not to ask again
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return Response(_follow(model_log, load_id, after), mimetype="text/event-stream", headers=headers)


def _follow(model_log: ModelLog, load_id: str, after: int) -> Iterator[str]:
    yield "retry: 1000\n\n"
    while True:
        news = model_log.after(after, _KEEP_ALIVE_S)
        for event in _of_load(news, load_id):
            yield _line(event)
            if event.payload["state"] not in ACTIVE:
                return
        after = news[-1].seq if news else after
        if not news:
            yield ": waiting\n\n"


def _of_load(events: list[Event], load_id: str) -> list[Event]:
    return [event for event in events if event.payload["load_id"] == load_id]


def _is_active(load: dict[str, Any]) -> bool:
    return load["snapshot"] is not None and load["snapshot"]["state"] in ACTIVE


def _line(event: Event) -> str:
    name = f"id: {event.payload['epoch']}:{event.seq}\nevent: {event.name}\n"
    return f"{name}data: {json.dumps(event.payload)}\n\n"


def _last_seen(epoch: str, header: str) -> int:
    """The seq behind which to go on: 0 for none, or one of another run of the server."""
    name, _, seq = header.partition(":")
    return int(seq) if name == epoch and seq.isdecimal() else 0
