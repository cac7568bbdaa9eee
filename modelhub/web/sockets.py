"""Socket.IO: a client subscribes to a model's room, or to the dashboard's, and gets the snapshot at once.

Pages ask for ``words`` too: they are in rooms of their own, where a snapshot carries what a page says of it.
"""

from __future__ import annotations

from typing import Any

from flask import Flask, request
from flask_socketio import SocketIO, join_room, leave_room
from werkzeug.exceptions import SecurityError

from modelhub import wording
from modelhub.core.registry import Hub
from modelhub.errors import ModelhubError
from modelhub.progress.adapter import DASHBOARD_ROOM, room_of

_PAGES = "page:"


def emit_to(socketio: SocketIO, name: str, payload: dict[str, Any], rooms: list[str]) -> None:
    """Tell an event in ``rooms``, and with words to their pages; without rooms, to everybody."""
    if not rooms:
        socketio.emit(name, payload)
        return
    socketio.emit(name, payload, to=rooms)
    socketio.emit(name, wording.with_words(payload), to=[_PAGES + room for room in rooms])


def init_app(app: Flask, socketio: SocketIO) -> None:
    """Answer ``subscribe`` and ``unsubscribe``. A room exists only for a known model."""
    hub: Hub = app.extensions["modelhub"]

    def connect(auth: Any = None) -> bool:
        try:
            return bool(request.host)  # checked against the trusted hosts
        except SecurityError:
            return False

    def subscribe(data: Any = None) -> dict[str, Any]:
        try:
            model_id = _model_id(data)
            in_words = isinstance(data, dict) and data.get("words") is True
            if model_id is not None and not hub.knows(model_id):
                raise ModelhubError("unknown_model", id=model_id)
            join_room(_room(model_id, in_words))
            tell = wording.with_words if in_words else dict
            if model_id is not None:
                return {"ok": True, "snapshot": tell(hub.snapshot(model_id))}
            models = [{**model, "snapshot": tell(model["snapshot"])} for model in hub.models()]
            return {"ok": True, "snapshot": {"epoch": hub.epoch, "models": models}}
        except ModelhubError as error:
            return {"ok": False, "error": error.to_dict()}

    def unsubscribe(data: Any = None) -> dict[str, Any]:
        try:
            model_id = _model_id(data)
        except ModelhubError as error:
            return {"ok": False, "error": error.to_dict()}
        for in_words in (False, True):
            leave_room(_room(model_id, in_words))
        return {"ok": True}

    socketio.on_event("connect", connect)
    socketio.on_event("subscribe", subscribe)
    socketio.on_event("unsubscribe", unsubscribe)


def _room(model_id: str | None, in_words: bool) -> str:
    room = DASHBOARD_ROOM if model_id is None else room_of(model_id)
    return _PAGES + room if in_words else room


def _model_id(data: Any) -> str | None:
    """The id a client names; None for the dashboard."""
    if data is None or (isinstance(data, dict) and data.keys() <= {"words"}):
        return None
    if not isinstance(data, dict) or not isinstance(data.get("id"), str):
        raise ModelhubError("invalid_request", why='Send {"id": "org/name"}, or {} for every model.')
    model_id: str = data["id"]
    return model_id
