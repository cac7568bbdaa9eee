"""Server-sent events of one load: the same log that Socket.IO sends, for clients without Socket.IO."""

from __future__ import annotations

from flask import Blueprint, Flask, Response, current_app, request

from modelhub.payloads import LoadResource
from modelhub.states import ACTIVE
from modelhub.web.current import reading as registry
from modelhub.web.streams import Stream, Streams, of_load

_EXTENSION = "modelhub_streams"
blueprint = Blueprint("sse", __name__)
_DESCRIBED = {
    "tags": ["api"],
    "summary": "The events of a load as server-sent events, until its terminal event.",
    "description": "Each has the name of the event and, as data, its payload, with the fields of Event. "
    "A client that was cut off continues after the Last-Event-ID header.",
    "parameters": [
        {"in": "path", "name": "load_id", "required": True, "schema": {"type": "string"}},
        {
            "in": "header",
            "name": "Last-Event-ID",
            "schema": {"type": "string"},
            "description": "The id of the last event seen.",
        },
    ],
    "responses": {
        "200": {
            "description": "The stream.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        "204": {"description": "The load has ended, and all of its events were seen."},
        "default": {"$ref": "#/components/responses/DEFAULT_ERROR"},
    },
}


def init_app(app: Flask) -> None:
    """Serve the streams, and describe them in the OpenAPI document."""
    app.register_blueprint(blueprint)
    (rule,) = app.url_map.iter_rules("sse.events")
    app.extensions["modelhub_api"].spec.path(rule=rule, operations={"get": _DESCRIBED})


def streams_of(app: Flask) -> Streams:
    """The streams that are being read from ``app``: send each event to them."""
    streams: Streams = app.extensions.setdefault(_EXTENSION, Streams())
    return streams


@blueprint.get("/api/loads/<load_id>/events")
def events(load_id: str) -> Response:
    """The events of a load, until its terminal event; continues after the Last-Event-ID header."""
    load = registry.load(load_id)
    model_log = registry.adapter.log_of(load["model_id"])
    after = _last_seen(registry.epoch, request.headers.get("Last-Event-ID", ""))
    if not _is_active(load) and not of_load(model_log.after(after, 0), load_id):
        return Response(status=204)  # makes an EventSource stop reconnecting
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    stream = Stream(streams_of(current_app), model_log, load_id, after, request.environ)
    return Response(stream.read(), mimetype="text/event-stream", headers=headers)


def _is_active(load: LoadResource) -> bool:
    return load["snapshot"] is not None and load["snapshot"]["state"] in ACTIVE


def _last_seen(epoch: str, header: str) -> int:
    """The seq after which to continue: 0 for none, or one of another run of the server."""
    name, _, seq = header.partition(":")
    return int(seq) if name == epoch and seq.isdecimal() else 0
