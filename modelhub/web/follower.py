"""A web process's side: follows the log of the hub in Redis, and keeps the process's mirror up to date."""

from __future__ import annotations

import json
import logging
import threading
import time
from base64 import b64decode
from collections.abc import Callable, Iterable
from typing import Any, cast

import requests

from modelhub.core.budget import Budget
from modelhub.core.listing import without_files
from modelhub.errors import ModelhubError
from modelhub.payloads import ModelResource, Snapshot
from modelhub.progress.log import absent
from modelhub.progress.packing import unpack
from modelhub.progress.redis_link import (
    ENTRY,
    HUB,
    RETRY_S,
    STREAM,
    Address,
    Kind,
    Position,
    connect,
)
from modelhub.states import ACTIVE, CHANGING, EventName, State
from modelhub.web.hub import MIRROR, MIRROR_HEADER, sign
from modelhub.web.mirror import Mirror

log = logging.getLogger(__name__)
_BLOCK_MS = 300  # how long a read waits for entries
_AT_ONCE = 200  # entries
_CONNECT_S, _RESPONSE_S = 2.0, 10.0  # of the hub
_LIST_EVERY_S = 1.0
_LOOK_S = 0.2  # how often it is looked whether the hub is heard of
_NO_MIRROR = (requests.RequestException, ValueError, KeyError, TypeError)  # no hub, or something else


class _Behind(Exception):
    """Entries are missing, or another hub writes them: the whole state is to be fetched."""


class Follower:
    """Fills ``mirror`` from the log at the Redis of ``url``; its adapter emits the events that are in it.

    ``secret`` returns the key that all processes share. One thread emits, in the order of the log.
    """

    def __init__(self, url: str, secret: Callable[[], str], mirror: Mirror) -> None:
        self._url = url
        self._secret = secret
        self._mirror = mirror
        self._position: Position | None = None  # of the last entry taken; None: fetch the whole state
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy between two processes of one site
        self._list_lock = threading.Lock()
        self._is_list_old = threading.Event()
        self._closing = threading.Event()
        self._is_started = False
        self._trouble = ""

    def start(self, spawn: Callable[..., object]) -> None:
        """Begin to follow, in threads of its own; returns at once, and does nothing when called again."""
        if not self._is_started:
            self._is_started = True
            for chore in (self._run, self._watch_life, self._keep_list):
                spawn(chore)

    def close(self) -> None:
        """End its threads."""
        self._closing.set()
        self._is_list_old.set()

    def has_taken(self, fence: int, n: int) -> bool:
        """Whether the entry of this position is in the mirror, or that of a newer hub."""
        return self._position is not None and self._position >= Position(fence, n)

    # The log

    def _run(self) -> None:
        while not self._closing.is_set():
            client = connect(self._url)
            try:
                self._follow(client)
            except _Behind:
                self._position = None
            except Exception as error:  # Redis, the hub, or an entry that this version does not know
                self._note_trouble(error)
                self._closing.wait(RETRY_S)
            finally:
                client.close()

    def _follow(self, client: Any) -> None:
        """Take entries as they come; raises what keeps it from that."""
        if self._position is None:
            self._position = self._fetch_all(client)
        while not self._closing.is_set():
            streams = client.xread({STREAM: str(self._position)}, count=_AT_ONCE, block=_BLOCK_MS)
            self._trouble = ""
            for _, entries in streams:
                for entry_id, fields in entries:
                    self._take(Position.of(entry_id), fields[ENTRY])
                    time.sleep(0)  # others have their turn between two events

    def _take(self, place: Position, text: str) -> None:
        assert self._position is not None  # noqa: S101 - _follow has fetched it
        if place.fence < self._position.fence:
            return  # a hub that was replaced
        if place.fence > self._position.fence or place.n != self._position.n + 1:
            raise _Behind
        self._mirror.heard_at = time.monotonic()
        try:
            self._apply(json.loads(text))
        finally:
            self._position = place  # also after one that this version does not know

    def _apply(self, entry: dict[str, Any]) -> None:
        payload = entry["payload"]
        match Kind(entry["kind"]):
            case Kind.EVENT:
                self._take_event(EventName(entry["name"]), payload)
            case Kind.STATE:
                if self._mirror.adapter.take_silent(payload):
                    self._put_model(payload["id"])
            case Kind.PARTS:
                self._take_parts(payload)
            case Kind.PREPARED:
                self._take_prepared(frozenset(payload))
            case Kind.LOGGED_OUT:
                self._take_logged_out(payload)
            case Kind.STOPPING:
                _call(self._mirror.on_stopping)
            case Kind.BEAT:
                pass

    def _take_event(self, name: EventName, payload: Snapshot) -> None:
        self._mirror.adapter.take(name, payload, lambda taken: self._put_model(taken["id"]))

    def _put_model(self, model_id: str) -> None:
        """The model has another snapshot."""
        with self._list_lock:
            models = self._mirror.models
            known = models.get(model_id)
            if known is None:
                self._is_list_old.set()
                known = without_files(self._mirror.adapter.snapshot(model_id))
                models = self._mirror.models = dict(models)  # somebody may be reading the list
            models[model_id] = self._as_of_now(known)

    def _as_of_now(self, model: ModelResource) -> ModelResource:
        snapshot = self._mirror.adapter.snapshot(model["id"])
        is_prepared = model["id"] in self._mirror.prepared
        return {**model, "snapshot": snapshot, "state": snapshot["state"], "prepared": is_prepared}

    def _take_prepared(self, ids: frozenset[str]) -> None:
        changed, self._mirror.prepared = ids ^ self._mirror.prepared, ids
        for model_id in changed & self._mirror.models.keys():
            self._put_model(model_id)
        _call(self._mirror.on_prepared)

    def _take_logged_out(self, logins: list[str]) -> None:
        for hook in self._mirror.on_logged_out:
            hook(logins)

    def _take_parts(self, parts: dict[str, Any]) -> None:
        """Take what has changed of the hub's parts; the version of the list comes with the list."""
        mirror, before = self._mirror, self._mirror.budget
        if "budget" in parts:
            mirror.budget = Budget(**parts["budget"])
        if "readiness" in parts:
            mirror.readiness = parts["readiness"]
            mirror.degraded = parts["readiness"]["degraded"]
        mirror.nodes = parts.get("nodes", mirror.nodes)
        mirror.shown = parts.get("shown", mirror.shown)
        if "tokens" in parts:
            mirror.tokens = frozenset(parts["tokens"])
        if parts.get("list_version", mirror.list_version) != mirror.list_version:
            self._is_list_old.set()
        if before is None or mirror.budget is None or _owned(before) != _owned(mirror.budget):
            _call(self._mirror.on_parts)

    # The whole state

    def _fetch_all(self, client: Any) -> Position:
        """Fetch and show the hub's whole state; returns the position that it is of."""
        address = self._address(client)
        began = time.monotonic()
        head, models, logs = self._fetch(address)
        if address.epoch != self._mirror.adapter.epoch:
            self._end_epoch()
            self._mirror.adapter.adopt(address.epoch, logs)
        else:
            self._catch_up(logs)
        mirror = self._mirror
        mirror.hub, mirror.fence = address.url, address.fence
        mirror.prepared = frozenset(head["prepared"])
        self._take_parts(head)
        self._take_logged_out(head["logged_out"])
        self._use_list(head, models)
        mirror.heard_at = time.monotonic()
        log.info("Following %s; its state took %.1f s", address.url, time.monotonic() - began)
        _call(self._mirror.on_prepared)
        _call(self._mirror.on_change)
        return Position(address.fence, head["n"])

    def _address(self, client: Any) -> Address:
        """Where the hub is; raises ValueError where there is none, or only one that was replaced."""
        said = client.get(HUB)
        if said is None:
            raise ValueError("no hub has come to this Redis yet")
        address = Address.from_json(said)
        if address.fence < self._mirror.fence:
            raise ValueError("the hub was replaced")
        return address

    def _fetch(
        self, address: Address, with_logs: bool = True
    ) -> tuple[dict[str, Any], list[ModelResource], list[tuple[Snapshot, bytes]]]:
        """The mirror of the hub: its head, its models, and the snapshot and the packed log of each."""
        head: dict[str, Any] = {}
        models: list[ModelResource] = []
        logs: list[tuple[Snapshot, bytes]] = []
        is_whole = False
        with self._session.get(
            address.url + MIRROR,
            params={} if with_logs else {"logs": "no"},
            headers={MIRROR_HEADER: sign(self._secret(), address.fence)},
            timeout=(_CONNECT_S, _RESPONSE_S),
            stream=True,
        ) as response:
            response.raise_for_status()
            for line in response.iter_lines(65536):
                part = json.loads(line)
                head = part.get("head", head)
                models += part.get("models", ())
                if "log" in part:
                    logs.append((part["snapshot"], b64decode(part["log"])))
                is_whole = "end" in part
        if not is_whole or (head["fence"], head["epoch"]) != (address.fence, address.epoch):
            raise ValueError(f"the server at {address.url} is not the hub yet")
        return head, models, logs

    def _catch_up(self, logs: list[tuple[Snapshot, bytes]]) -> None:
        """Take the events that were missed, as far as the hub has kept them."""
        for snapshot, packed in logs:
            for event in unpack(packed)[0]:
                self._take_event(event.name, event.payload)
            if snapshot["seq"] > self._mirror.adapter.snapshot(snapshot["id"])["seq"]:
                self._mirror.adapter.take_silent(snapshot)

    def _end_epoch(self) -> None:
        """The hub has ended, and with it its loads and models: emit that, while it is still the epoch."""
        adapter = self._mirror.adapter
        for last in [adapter.snapshot(model_id) for model_id in adapter.known()]:
            ended = cast(Snapshot, {**last, "seq": last["seq"] + 1})
            if last["state"] in ACTIVE:
                error = ModelhubError("interrupted", id=last["id"]).to_dict()
                ended["state"], ended["error"] = State.INTERRUPTED, {**error, "step": last["step"]}
                ended["eta"] = ended["stalled_for"] = ended["rate"] = ended["queue_position"] = None
                self._take_event(EventName.FAILED, ended)
            elif last["state"] in (State.READY, *CHANGING):
                receipt = {"memory_before": None, "memory_after": None, "freed": None, "by": None}
                kept = {"load_id": last["load_id"], "seq": last["seq"] + 1}
                gone = {**absent(last["id"], last["epoch"]), **kept, **receipt}
                self._take_event(EventName.UNLOADED, cast(Snapshot, gone))

    # The list of models

    def _keep_list(self) -> None:
        """Fetch the list anew where it is old, at most once a second; for a thread of its own."""
        while not self._closing.wait(_LIST_EVERY_S):
            self._is_list_old.wait()
            self._is_list_old.clear()
            mirror, began = self._mirror, time.monotonic()
            if self._closing.is_set() or self._position is None:
                continue  # the whole state is being fetched
            try:
                address = Address(mirror.hub, mirror.adapter.epoch, mirror.fence)
                head, models, _ = self._fetch(address, with_logs=False)
            except _NO_MIRROR as error:
                self._note_trouble(error)
                self._is_list_old.set()
                continue
            if address.epoch == mirror.adapter.epoch:
                self._use_list(head, models)
                _call(self._mirror.on_change)
            self._closing.wait(3 * (time.monotonic() - began))  # a long list is fetched less often

    def _use_list(self, head: dict[str, Any], models: list[ModelResource]) -> None:
        with self._list_lock:
            self._mirror.models = {model["id"]: self._as_of_now(model) for model in models}
            self._mirror.list_version = head["list_version"]

    # Whether it is live

    def _watch_life(self) -> None:
        """Call ``mirror.on_live`` when that is another; for a thread of its own."""
        was_live = False
        while not self._closing.wait(_LOOK_S):
            if self._mirror.is_live != was_live:
                was_live = not was_live
                for hook in self._mirror.on_live:
                    hook(was_live)

    def _note_trouble(self, error: Exception) -> None:
        if str(error) != self._trouble:
            self._trouble = str(error)
            log.warning("The hub cannot be followed, trying again: %s", error)


def _call(hooks: Iterable[Callable[[], None]]) -> None:
    for hook in hooks:
        try:
            hook()
        except Exception:  # what is shown must not keep the log from being followed
            log.exception("What follows a change of the hub has failed")


def _owned(budget: Budget) -> tuple[int, ...]:
    """Of the memory, what is not other programs'."""
    return budget.models, budget.loading, budget.model_count, budget.load_count
