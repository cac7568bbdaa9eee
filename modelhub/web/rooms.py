"""Socket.IO: a client subscribes to a model's room, or to the dashboard's, and gets the snapshot at once."""

from __future__ import annotations

from typing import Any

from flask import Flask, request
from flask_socketio import SocketIO, join_room, leave_room
from werkzeug.exceptions import SecurityError

from modelhub.errors import ModelhubError
from modelhub.hub import Hub
from modelhub.progress.adapter import DASHBOARD_ROOM, room_of


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
            if model_id is None:
                join_room(DASHBOARD_ROOM)
                return {"ok": True, "snapshot": {"epoch": hub.epoch, "models": hub.models()}}
            if not hub.knows(model_id):
                raise ModelhubError("unknown_model", id=model_id)
            join_room(room_of(model_id))
            return {"ok": True, "snapshot": hub.snapshot(model_id)}
        except ModelhubError as error:
            return {"ok": False, "error": error.to_dict()}

    def unsubscribe(data: Any = None) -> dict[str, Any]:
        try:
            model_id = _model_id(data)
        except ModelhubError as error:
            return {"ok": False, "error": error.to_dict()}
        leave_room(DASHBOARD_ROOM if model_id is None else room_of(model_id))
        return {"ok": True}

    socketio.on_event("connect", connect)
    socketio.on_event("subscribe", subscribe)
    socketio.on_event("unsubscribe", unsubscribe)


def _model_id(data: Any) -> str | None:
    """The id a client names; None for the dashboard."""
    if data is None or data == {}:
        return None
    if not isinstance(data, dict) or not isinstance(data.get("id"), str):
        raise ModelhubError("invalid_request", why='Send {"id": "org/name"}, or {} for every model.')
    model_id: str = data["id"]
    return model_id
