"""Socket.IO: a client subscribes to the room of a model, or of the dashboard, and gets the snapshot at once.

Pages subscribe with ``words``: they join rooms of their own, whose snapshots carry what a page shows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from flask import Flask, request
from flask_socketio import SocketIO, join_room, leave_room, rooms

from modelhub import wording
from modelhub.errors import ModelhubError
from modelhub.payloads import Snapshot
from modelhub.progress.adapter import DASHBOARD_ROOM, room_of
from modelhub.states import PAGE_PARTS, EventName
from modelhub.web import library_log
from modelhub.web.access import access_of
from modelhub.web.current import reading_of
from modelhub.web.dashboards import Dashboards
from modelhub.web.limits import MOST_SUBSCRIPTIONS
from modelhub.web.paced import MANY, Paced
from modelhub.web.reading import Reading

if TYPE_CHECKING:
    from modelhub.web.pages.live import ModelPageSnapshot, PageSnapshot

log = logging.getLogger(__name__)
PAGES = "page:"  # begins the names of the rooms of pages
_MOST = 100  # models in the acknowledgement for a dashboard
_MOST_NUMBER = 1_000_000


class Sockets:
    """The rooms of one server.

    ``with_words`` adds to a snapshot what every page says of it, ``with_charts`` adds to that what the page
    of the model draws; ``parts`` is what dashboards show besides. ``count`` is how many models are listed.
    """

    def __init__(
        self,
        socketio: SocketIO,
        with_words: Callable[[Snapshot], PageSnapshot],
        with_charts: Callable[[PageSnapshot], ModelPageSnapshot],
        parts: Callable[[list[str]], Mapping[str, Any]],
        count: Callable[[], int] = lambda: 0,
    ) -> None:
        self._socketio = socketio
        self._paced = Paced(
            socketio, lambda name, payload: self._send(name, payload, [DASHBOARD_ROOM]), count
        )
        self._dashboards = Dashboards(socketio, PAGES + DASHBOARD_ROOM, parts, lambda: self._paced.period_s)
        self._with_words = with_words
        self._with_charts = with_charts
        self._prepared: frozenset[str] = frozenset()

    def emit(self, name: EventName, payload: Snapshot, rooms: list[str]) -> None:
        """Send an event to ``rooms``, and with words to the rooms of their pages."""
        if DASHBOARD_ROOM in rooms and self._paced.hold(name, payload):
            rooms = [room for room in rooms if room != DASHBOARD_ROOM]
        self._send(name, payload, rooms)
        self._dashboards.take(payload)

    def _send(self, name: EventName, payload: Snapshot, rooms: list[str]) -> None:
        watched = self._socketio.server.manager.rooms.get("/", {})
        plain = [room for room in rooms if room in watched]
        if plain:
            self._socketio.emit(name.value, payload, to=plain)
        page: PageSnapshot | None = None
        for room in rooms:
            if PAGES + room not in watched:  # to say an event in words for nobody takes as long as for all
                continue
            page = self._with_words(payload) if page is None else page
            # How a model is used changes none of its charts, and is sent each second.
            is_plain = room == DASHBOARD_ROOM or name == EventName.IN_USE
            shown = page if is_plain else self._with_charts(page)
            self._socketio.emit(name.value, shown, to=PAGES + room)

    def announce_change(self, epoch: str) -> None:
        """Send to every client that the list of models has changed, and should be read again."""
        self._broadcast(EventName.MODELS_CHANGED, {"epoch": epoch})

    def announce_prepared(self, epoch: str, ids: frozenset[str]) -> None:
        """Send that other models are prepared: to dashboards, and to the pages of those models."""
        changed, self._prepared = ids ^ self._prepared, ids
        self._broadcast(EventName.MODELS_CHANGED, {"epoch": epoch}, DASHBOARD_ROOM)
        for model_id in changed:
            self._broadcast(PAGE_PARTS, {"prepared": model_id in ids}, PAGES + room_of(model_id))
        self._dashboards.send_soon()

    def announce_stop(self, epoch: str) -> None:
        """Send to every client that the server is about to end."""
        self._paced.end()
        self._broadcast(
            EventName.SERVER_STOPPING, {"epoch": epoch, **ModelhubError("shutting_down").to_dict()}
        )

    def _broadcast(self, name: str, payload: dict[str, Any], room: str | None = None) -> None:
        try:
            self._socketio.emit(str(name), payload, to=room)
        except Exception as error:  # it must neither keep the server from ending nor end the caller's thread
            log.warning("%s could not be emitted: %s", name, error)

    def _models(self, registry: Reading, limit: int, offset: int) -> dict[str, Any]:
        """The models that there is something to say about, or a part of them."""
        touched = registry.listing.touched()
        end = offset + limit
        return {
            "epoch": registry.epoch,
            "models": touched[offset:end],
            "total": len(touched),
            "next": end if end < len(touched) else None,
            "period": self._paced.period_s,
        }

    def _dashboard(self, registry: Reading) -> dict[str, Any]:
        """What a page of the dashboard has to know to be up to date, or to know that it is not."""
        touched = registry.listing.touched()
        touched.sort(key=lambda model: wording.rank(model["state"]))
        models = [
            {"id": model["id"], "snapshot": self._with_words(model["snapshot"])} for model in touched[:_MOST]
        ]
        return {
            "epoch": registry.epoch,
            # That of no page where it is not all: the page fetches its models anew.
            "version": registry.list_version if len(touched) <= _MOST else "",
            "models": models,
            "period": self._paced.period_s,
            "parts": self._dashboards.parts([]),
        }

    def _snapshot(
        self, registry: Reading, model_id: str | None, with_words: bool, limit: int, offset: int
    ) -> Mapping[str, Any]:
        """What a client gets that has subscribed to a model, or with None to the dashboard."""
        if model_id is None and with_words:
            return self._dashboard(registry)
        if model_id is None:
            return self._models(registry, limit, offset)
        snapshot = registry.snapshot(model_id)
        return self._with_charts(self._with_words(snapshot)) if with_words else snapshot

    def init_app(self, app: Flask) -> None:
        """Handle ``subscribe`` and ``unsubscribe``. A room exists only for a known model."""
        registry = reading_of(app)
        registry.on_change.append(lambda: self.announce_change(registry.epoch))
        registry.on_prepared.append(lambda: self.announce_prepared(registry.epoch, registry.prepared()))
        registry.on_parts.append(self._dashboards.send_soon)
        registry.on_stopping.append(lambda: self.announce_stop(registry.epoch))

        access = access_of(app)

        def connect(auth: Any = None) -> None:
            access.admit(_sid(), auth)

        def disconnect(reason: Any = None) -> None:
            access.forget(_sid())

        def subscribe(data: Any = None) -> dict[str, Any]:
            try:
                access.check(_sid())
                model_id = _model_id(data)
                with_words = isinstance(data, dict) and data.get("words") is True
                limit, offset = _number(data, "limit", MANY, 1), _number(data, "offset", 0, 0)
                if model_id is not None:
                    model_id = registry.known_id(model_id)
                if len(rooms()) > MOST_SUBSCRIPTIONS:  # it is in one of its own, too
                    why = f"A connection may subscribe to {MOST_SUBSCRIPTIONS} models."
                    raise ModelhubError("invalid_request", why=why)
                join_room(_room(model_id, with_words))
                away = {"away": why} if (why := registry.away()) else {}
                snapshot = self._snapshot(registry, model_id, with_words, limit, offset)
                return {"ok": True, "snapshot": snapshot, **away}
            except ModelhubError as error:
                return {"ok": False, "error": error.to_dict()}

        def unsubscribe(data: Any = None) -> dict[str, Any]:
            try:
                model_id = _model_id(data)
                model_id = model_id and registry.id_of(model_id)
            except ModelhubError as error:
                return {"ok": False, "error": error.to_dict()}
            for with_words in (False, True):
                leave_room(_room(model_id, with_words))
            return {"ok": True}

        library_log.shorten()
        self._socketio.on_event("connect", connect)
        self._socketio.on_event("disconnect", disconnect)
        self._socketio.on_event("subscribe", subscribe)
        self._socketio.on_event("unsubscribe", unsubscribe)


def _sid() -> str:
    """The client that the current event is from."""
    sid: str = request.sid  # type: ignore[attr-defined]
    return sid


def _room(model_id: str | None, with_words: bool) -> str:
    room = DASHBOARD_ROOM if model_id is None else room_of(model_id)
    return PAGES + room if with_words else room


def _model_id(data: Any) -> str | None:
    """The id that a client subscribes to; None for the dashboard."""
    if data is None or (isinstance(data, dict) and data.keys() <= {"words", "limit", "offset"}):
        return None
    if not isinstance(data, dict) or not isinstance(data.get("id"), str):
        raise ModelhubError("invalid_request", why='Send {"id": "org/name"}, or {} for every model.')
    model_id: str = data["id"]
    return model_id


def _number(data: Any, name: str, default: int, least: int) -> int:
    """A whole number of a request."""
    number = default if data is None else data.get(name, default)
    if not isinstance(number, int) or isinstance(number, bool) or not least <= number <= _MOST_NUMBER:
        why = f"“{name}” must be a whole number from {least} to {_MOST_NUMBER}."
        raise ModelhubError("invalid_request", why=why)
    return number
