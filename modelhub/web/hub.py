"""The hub's side of web processes: what it publishes, and the whole state for one that starts to follow."""

from __future__ import annotations

import json
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any

from flask import Blueprint, Flask, Response, current_app, request
from itsdangerous import BadData, URLSafeTimedSerializer

from modelhub.core.registry import Registry
from modelhub.errors import ModelhubError
from modelhub.payloads import HubParts, ShownSettings, Snapshot
from modelhub.progress.publisher import Publisher
from modelhub.progress.redis_link import Kind
from modelhub.states import EventName
from modelhub.web import security
from modelhub.web.access import Access, access_of
from modelhub.web.current import registry_of

MIRROR = "/api/mirror"
MIRROR_HEADER = "Modelhub-Mirror"  # with it, a web process shows that it knows the key of all
FENCE_HEADER = "Modelhub-Fence"  # names the hub that a web process forwards a request to
POSITION_HEADER = "Modelhub-Position"  # of the answer to that: what it tells of is in entries up to this one
_AT_ONCE = 50  # models
_EVERY_S, _SOON_S = 1.0, 0.1  # how often the parts are looked at, and how soon after a change
_FLUSH_S = 1.0
_MAX_AGE_S = 300  # of a request for the mirror; clocks differ
_EXTENSION = "modelhub_publisher"
blueprint = Blueprint("hub", __name__)


class Feed:
    """Puts what happens at the hub into the log of its ``publisher``."""

    def __init__(
        self, registry: Registry, access: Access, publisher: Publisher, spawn: Callable[..., object]
    ) -> None:
        self._registry = registry
        self._access = access
        self.publisher = publisher
        self._spawn = spawn
        self._sent: dict[str, Any] = {}
        self._changed = threading.Event()
        self._is_closing = threading.Event()
        self._is_started = False
        registry.troubles.append(publisher.troubles)
        registry.on_start.append(self._start)
        registry.on_change.append(self._changed.set)
        registry.on_prepared.append(self._put_prepared)
        registry.on_close.append(lambda: publisher.put(Kind.STOPPING, None))
        registry.on_closed.append(self._close)
        registry.adapter.on_silent.append(lambda snapshot: publisher.put(Kind.STATE, snapshot))
        access.on_log_out.append(lambda login: publisher.put(Kind.LOGGED_OUT, [login]))

    def event(self, name: EventName, payload: Snapshot) -> None:
        """A model has a new event."""
        self.publisher.put(Kind.EVENT, payload, name)
        if name != EventName.PROGRESS:
            self._changed.set()

    def parts(self) -> HubParts:
        """What a web process shows beside models, as of now."""
        return {
            "budget": self._registry.budget()._asdict(),
            "readiness": self._registry.readiness(),
            "list_version": self._registry.list_version,
            "nodes": self._registry.nodes(),
            "tokens": sorted(self._access.marks()),
            "shown": self._shown(),
        }

    def _shown(self) -> ShownSettings:
        settings = self._registry.settings
        return {
            "models_dir": str(settings.models_dir.absolute()),
            "autoload": settings.autoload,
            "keep_prepared_seconds": settings.keep_prepared_seconds,
            "max_new_tokens": settings.max_new_tokens,
            "cluster": settings.cluster,
            "devices": [*self._registry.devices()],
        }

    def mirror(self, with_logs: bool) -> Iterator[str]:
        """The whole state, as lines of JSON; what happens meanwhile is in entries after ``n``.

        Between two lines, other requests are served.
        """
        registry = self._registry
        head = {"fence": self.publisher.fence, "n": self.publisher.position, "epoch": registry.epoch}
        also = {"prepared": self._prepared(), "logged_out": self._access.ended_sessions()}
        yield _line({"head": {**head, **self.parts(), **also}})
        ids = [one.model_id for one in registry.listing.all()]
        for begin in range(0, len(ids), _AT_ONCE):
            models = registry.listing.resources(ids[begin : begin + _AT_ONCE])
            # The snapshot of a model without events says nothing.
            untouched = {model["id"] for model in models if not registry.adapter.knows(model["id"])}
            said = [{**model, "snapshot": None} if model["id"] in untouched else model for model in models]
            yield _line({"models": said})
            time.sleep(0)
        for model_id in registry.adapter.known() if with_logs else ():
            model_log = registry.adapter.log_of(model_id)
            snapshot = registry.snapshot(model_id)
            yield _line({"snapshot": snapshot, "log": b64encode(model_log.packed()).decode()})
            time.sleep(0)
        yield _line({"end": True})

    def _start(self) -> None:
        self.publisher.start(self._spawn, self._registry.epoch)
        if not self._is_started:
            self._is_started = True
            self._spawn(self._watch_parts)

    def _close(self) -> None:
        self._is_closing.set()
        self._changed.set()
        self.publisher.close(_FLUSH_S)

    def _put_prepared(self) -> None:
        self.publisher.put(Kind.PREPARED, self._prepared())

    def _prepared(self) -> list[str]:
        return sorted(self._registry.prepared())

    def _watch_parts(self) -> None:
        """Put the parts that have changed, soon after news and once a second; for a thread of its own."""
        while not self._is_closing.is_set():
            parts: dict[str, Any] = {**self.parts()}
            changed = {name: part for name, part in parts.items() if part != self._sent.get(name)}
            if changed:
                self._sent = parts
                self.publisher.put(Kind.PARTS, changed)
            self._changed.wait(_EVERY_S)
            self._changed.clear()
            self._is_closing.wait(_SOON_S)  # changes come in groups


def init_app(app: Flask, spawn: Callable[..., object]) -> Feed:
    """Publish what happens, serve the mirror, refuse what is meant for another hub."""
    settings = registry_of(app).settings
    publisher = Publisher(
        settings.redis, settings.hub, lambda: str(app.secret_key), lambda key: security.use_key(app, key)
    )
    feed = app.extensions[_EXTENSION] = Feed(registry_of(app), access_of(app), publisher, spawn)

    def check_fence() -> None:
        fence = request.headers.get(FENCE_HEADER)
        if fence is not None and (publisher.is_stale or fence != str(publisher.fence)):
            raise ModelhubError("stale_hub")

    def say_position(response: Response) -> Response:
        if FENCE_HEADER in request.headers:
            response.headers[POSITION_HEADER] = str(publisher.position)
        return response

    app.before_request(check_fence)
    app.after_request(say_position)
    app.register_blueprint(blueprint)
    return feed


def publisher_of(app: Flask) -> Publisher | None:
    """What publishes the log of this hub; None where nothing is published."""
    feed: Feed | None = app.extensions.get(_EXTENSION)
    return None if feed is None else feed.publisher


def sign(secret: str, fence: int) -> str:
    """What a web process sends to get the mirror of a hub."""
    text = _serializer(secret).dumps(fence)
    return text if isinstance(text, str) else text.decode()


@blueprint.get(MIRROR)
def mirror() -> Response:
    """The whole state of the hub, for web processes alone; ``?logs=no`` leaves the logs of models out."""
    try:
        _serializer(str(current_app.secret_key)).loads(
            request.headers.get(MIRROR_HEADER, ""), max_age=_MAX_AGE_S
        )
    except BadData:
        raise ModelhubError("unauthorized") from None
    feed: Feed = current_app.extensions[_EXTENSION]
    return Response(feed.mirror(request.args.get("logs") != "no"), mimetype="application/x-ndjson")


def _serializer(secret: str) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(secret, salt=MIRROR_HEADER)


def _line(part: dict[str, Any]) -> str:
    return json.dumps(part, separators=(",", ":")) + "\n"
