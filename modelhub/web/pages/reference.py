"""The reference of the API: the OpenAPI document as a page, and the events of Socket.IO and SSE."""

from __future__ import annotations

from typing import Any, NamedTuple

from flask import Blueprint, Flask, current_app, render_template

from modelhub.progress.schemas import EventSchema
from modelhub.states import EventName
from modelhub.tasks import TASKS

blueprint = Blueprint("reference", __name__)

EVENTS = {
    EventName.QUEUED: "A load waits for its turn; again as its position changes.",
    EventName.STARTED: "A load begins.",
    EventName.PROGRESS: "A step begins or has come further; also without news, at least once a second.",
    EventName.COMPLETED: "The model is loaded and a forward pass has been run. Ends the load.",
    EventName.FAILED: "The load failed, or the server is ending in the middle of it. Ends the load.",
    EventName.CANCELLED: "The load was cancelled. Ends the load.",
    EventName.IN_USE: "A ready model is used by more or fewer, writes faster or slower, has other replicas.",
    EventName.UNLOADED: "The model has left memory, on request, or because its process ended.",
    EventName.MODELS_CHANGED: "The list of models has changed without a load. Read it again.",
    EventName.SERVER_STOPPING: "The server is about to end.",
}


class Field(NamedTuple):
    """A field of an event: its name, its type as JSON has it, and what it means."""

    name: str
    type: str
    meaning: str


def init_app(app: Flask) -> None:
    """Serve the pages."""
    app.register_blueprint(blueprint)


@blueprint.get("/docs")
def docs() -> str:
    """The OpenAPI document as a page."""
    return render_template("docs.html", spec=_document(), tasks=TASKS)


@blueprint.get("/docs/events")
def events() -> str:
    """The events, with the fields of their payload from the schema that checks them."""
    properties = _document()["components"]["schemas"]["Event"]["properties"]
    always = {name for name, field in EventSchema().fields.items() if field.required}
    fields = [
        Field(name, _type(what), what.get("description", "").replace("`", ""))
        for name, what in properties.items()
    ]
    return render_template(
        "events.html",
        events=EVENTS,
        fields=[field for field in fields if field.name in always],
        more=[field for field in fields if field.name not in always],
    )


def _document() -> dict[str, Any]:
    document: dict[str, Any] = current_app.extensions["modelhub_api"].spec.to_dict()
    return document


def _type(schema: dict[str, Any]) -> str:
    """``"integer or null"``; a reference is an object."""
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(str(one) for one in schema["enum"] if one is not None)
    kind = schema.get("type", "object")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)
