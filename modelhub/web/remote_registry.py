"""The registry of a web process: answers from what the hub has published, and asks it for the rest."""

from __future__ import annotations

import dataclasses
import http.client
import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import cast
from urllib.parse import quote, urlsplit

from flask import Flask, current_app, request

from modelhub.config import Settings
from modelhub.core.budget import Budget
from modelhub.core.particulars import without_server
from modelhub.errors import ModelhubError
from modelhub.model_ids import plain_model_id
from modelhub.payloads import (
    Confinement,
    ErrorPayload,
    LoadResource,
    ModelResource,
    NodeStatus,
    Particulars,
    Readiness,
    Snapshot,
)
from modelhub.progress import redis_link
from modelhub.progress.adapter import Emit, ProgressAdapter
from modelhub.web.departures import answers
from modelhub.web.follower import Follower
from modelhub.web.hub import FENCE_HEADER
from modelhub.web.hub_request import CONNECT_S, HubRequest
from modelhub.web.mirror import Mirror
from modelhub.web.reading import Hooks
from modelhub.web.remote_listing import RemoteListing

_ASK_S = 2.0  # how long the hub may take for what a page shows besides
_CAUGHT_UP_S, _LOOK_S = 0.5, 0.005
_NOTHING: Readiness = {
    "ready": False,
    "workers": {"state": "cold", "seconds": None, "spare": None},
    "preload": {},
    "sandbox": cast(Confinement, {}),
    "degraded": [],
}


class RemoteRegistry:
    """See ``core.registry.Registry``; what has no docstring here is as there.

    Raises ModelhubError ``bad_setting`` where there is no Redis to follow the hub by.
    """

    def __init__(
        self,
        settings: Settings,
        spawn: Callable[..., object],
        emit: Emit,
    ) -> None:
        if not settings.redis:
            why = "A web process follows the server over Redis: set it to the address that the server has."
            raise ModelhubError("bad_setting", setting="MODELHUB_REDIS", value="empty", why=why)
        redis_link.connect(settings.redis).close()  # raises where the package is missing
        self._settings = settings
        self.adapter = ProgressAdapter(emit, settings.stall_seconds)
        self.mirror = Mirror(self.adapter, hub="")
        self.listing = RemoteListing(self.mirror)
        self.on_start: Hooks = []
        self.on_change, self.on_prepared = self.mirror.on_change, self.mirror.on_prepared
        self.on_parts, self.on_stopping = self.mirror.on_parts, self.mirror.on_stopping
        self.on_close: Hooks = []
        self.troubles: list[Callable[[], Iterable[ModelhubError]]] = []
        self.secret: Callable[[], str] = lambda: ""  # the key that all processes share
        self._spawn = spawn
        self._is_started = False
        self._follower = Follower(settings.redis, lambda: self.secret(), self.mirror)
        self.mirror.on_live.append(lambda is_live: _call(self.on_change))

    def start(self) -> None:
        """Begin to follow the hub; calling it again does nothing."""
        if not self._is_started:
            self._is_started = True
            _call(self.on_start)
            self._follower.start(self._spawn)

    def close(self) -> None:
        """This process ends; the hub goes on."""
        _call([*self.on_stopping, *self.on_close])
        self._follower.close()

    # From memory

    @property
    def settings(self) -> Settings:
        """The settings of this process, with those of the hub that its pages name."""
        shown = self.mirror.shown
        if shown is None:
            return self._settings
        return dataclasses.replace(
            self._settings,
            models_dir=Path(shown["models_dir"]),
            autoload=shown["autoload"],
            keep_prepared_seconds=shown["keep_prepared_seconds"],
            max_new_tokens=shown["max_new_tokens"],
            cluster=shown["cluster"],
        )

    def devices(self) -> Sequence[str]:
        """The devices that a load can choose."""
        return self.mirror.shown["devices"] if self.mirror.shown is not None else ("auto",)

    @property
    def epoch(self) -> str:
        """Names the run of the hub."""
        return self.adapter.epoch

    @property
    def list_version(self) -> str:
        """Another text whenever the list is another, or begins or ceases to be live."""
        return f"{self.mirror.list_version}.{'live' if self.mirror.is_live else 'as of then'}"

    @property
    def is_complete(self) -> bool:
        """Whether the hub has published a list."""
        return bool(self.mirror.list_version)

    def id_of(self, text: str) -> str:
        """The id of what a person or a client names; raises ``invalid_id``."""
        try:
            return plain_model_id(text)
        except ModelhubError:
            if (name := text.strip()) in self.mirror.models:
                return name
            raise

    def known_id(self, text: str) -> str:
        """The id of a model that was published; raises ``unknown_model``."""
        model_id = self.id_of(text)
        if not self.listing.has(model_id):
            raise ModelhubError.not_here(model_id)
        return model_id

    def knows(self, text: str) -> bool:
        """Whether there is anything to say about a model; for the rest the hub is asked."""
        try:
            return self.listing.has(self.id_of(text))
        except ModelhubError:
            return False

    def knows_load(self, load_id: str) -> bool:
        """Whether the events of a load are here: it is the latest one of its model."""
        return self._snapshot_of(load_id) is not None

    def _snapshot_of(self, load_id: str) -> Snapshot | None:
        snapshots = map(self.snapshot, self.adapter.known())
        return next((one for one in snapshots if one["load_id"] == load_id), None)

    def model(self, model_id: str) -> ModelResource:
        """One model; raises ``unknown_model``."""
        return self.listing.resource(self.known_id(model_id))

    def snapshot(self, model_id: str) -> Snapshot:
        """The full state of a model: the payload of its latest event."""
        return self.adapter.snapshot(model_id)

    def load(self, load_id: str) -> LoadResource:
        """The latest load of a model, as far as its events tell; raises ``unknown_load``."""
        snapshot = self._snapshot_of(load_id)
        if snapshot is None:
            raise ModelhubError("unknown_load", id=load_id)
        known = {"load_id": load_id, "model_id": snapshot["id"], "state": snapshot["state"]}
        return cast(LoadResource, {**known, "snapshot": snapshot})

    def budget(self) -> Budget:
        """Memory use by owner; nothing before the hub was heard of for the first time."""
        return self.mirror.budget or Budget(0, 0, 0, 0, 0, 0, 0, 0)

    def nodes(self) -> list[NodeStatus]:
        """The nodes of a cluster."""
        return self.mirror.nodes

    def prepared(self) -> frozenset[str]:
        """The models that are kept prepared."""
        return self.mirror.prepared

    def readiness(self) -> Readiness:
        """Whether what this process answers is live; the rest is that of the hub."""
        published = self.mirror.readiness or _NOTHING
        return {**published, "ready": self.mirror.is_live, "degraded": self.degraded()}

    def degraded(self) -> list[ErrorPayload]:
        """What does not work as it should, here or at the hub."""
        own = [error.to_dict() for trouble in self.troubles for error in trouble()]
        return [*self._not_live(), *own, *self.mirror.degraded]

    def tokens_of_hub(self) -> frozenset[str] | None:
        """What names the tokens that the hub asks for."""
        return self.mirror.tokens

    def away(self) -> str:
        """That nothing is live, in words; empty where it is."""
        return " ".join(f"{error['message']} {error['hint']}" for error in self._not_live())

    def _not_live(self) -> list[ErrorPayload]:
        heard_at = self.mirror.heard_at
        if self.mirror.is_live:
            return []
        since = "this web process was started"
        if heard_at is not None:
            since = time.strftime("%H:%M:%S", time.localtime(time.time() - time.monotonic() + heard_at))
        return [ModelhubError("not_live", since=since).to_dict()]

    # From the hub

    def request_to_hub(self, timeout_s: float | None = None) -> HubRequest:
        """A connection to the hub for the current request; raises ``hub_away``."""
        mirror = self.mirror
        try:
            if not mirror.hub:  # it was never heard of
                raise ConnectionError
            fence = {FENCE_HEADER: str(mirror.fence)}
            return HubRequest(mirror.hub, str(current_app.secret_key), request.environ, fence, timeout_s)
        except OSError:
            raise ModelhubError("hub_away") from None

    def wait_for(self, position: str) -> None:
        """Wait until what the hub had published at ``position`` is here, so that the next page shows it."""
        deadline, fence = time.monotonic() + _CAUGHT_UP_S, self.mirror.fence
        is_number = position.isdecimal()
        while is_number and self.mirror.is_live and time.monotonic() < deadline:
            if self._follower.has_taken(fence, int(position)):
                return
            time.sleep(_LOOK_S)

    def is_hub_there(self) -> bool:
        """Whether the hub answers; takes two seconds at most."""
        if self.mirror.is_live or not self.mirror.hub:
            return self.mirror.is_live
        hub = urlsplit(self.mirror.hub)
        kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        return answers(kinds[hub.scheme](hub.hostname or "", hub.port, timeout=CONNECT_S))

    def particulars(self, model_id: str, with_outlook: bool) -> Particulars:
        """What the page of a model shows beside its state; what the hub does not say soon is left out."""
        if not self.mirror.is_live:
            return without_server()
        target = f"/api/particulars/{quote(model_id)}?outlook={'yes' if with_outlook else 'no'}"
        try:
            hub_request = self.request_to_hub(_ASK_S)
        except ModelhubError:
            return without_server()
        try:
            hub_request.send("GET", target)
            if hub_request.answer().status != http.client.OK:
                return without_server()
            return cast(Particulars, json.loads(b"".join(hub_request.pieces())))
        except (OSError, http.client.HTTPException, ValueError):
            return without_server()
        finally:
            hub_request.close()


def _call(hooks: Hooks) -> None:
    for hook in hooks:
        hook()


def remote_registry_of(app: Flask) -> RemoteRegistry:
    """The registry of a web process."""
    return cast(RemoteRegistry, app.extensions["modelhub"])
