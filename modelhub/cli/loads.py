"""The loads that one command requested: how far each is, and how it ended."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NotRequired, Protocol, TypedDict, cast

from modelhub.checkpoints import LoadOptions
from modelhub.cli.feed import TICK, Feed, about_server
from modelhub.cli.server import Server
from modelhub.core.outlook import outlook_of
from modelhub.errors import ModelhubError
from modelhub.outlook_wording import expected
from modelhub.payloads import ErrorPayload, LoadResource, Snapshot
from modelhub.states import ACTIVE, State

_ATTEMPTS = 3  # to learn what is expected: it is written down a moment after the load has begun
_RESULT = ("load_id", "state", "seconds", "bytes", "memory", "device", "dtype", "source", "node", "error")


class Ending(TypedDict):
    """How a load ended: a snapshot, or as much of one as is known of a load that has none."""

    id: str
    load_id: str | None
    state: State
    error: ErrorPayload | None
    step: NotRequired[int | None]
    elapsed: NotRequired[float | None]
    seconds: NotRequired[float | None]
    bytes: NotRequired[int | None]
    memory: NotRequired[int | None]
    device: NotRequired[str | None]
    dtype: NotRequired[str | None]
    source: NotRequired[str | None]
    node: NotRequired[str | None]
    placement: NotRequired[str | None]
    by: NotRequired[str | None]  # where it was cancelled from
    freed: NotRequired[int | None]
    was_ready: NotRequired[bool]


class View(Protocol):
    """Where a command shows its loads: bars, lines or JSON."""

    def show(self, name: str, payload: Snapshot) -> None:
        """An event, or a snapshot."""

    def expect(self, model_id: str, text: str) -> None:
        """A load has begun; ``text`` is how long it will take."""

    def note(self, text: str) -> None:
        """News of the connection."""

    def finish(self, payload: Ending) -> None:
        """A load has ended; ``payload`` says how."""

    def close(self, ends: list[Ending]) -> None:
        """Nothing more will come; ``ends`` are the loads that ended."""


class RequestedLoad:
    """One model that was requested, and those that it ``replaces``; ``end`` is None until its load ended."""

    def __init__(self, model_id: str, replaces: tuple[str, ...] = ()) -> None:
        self.model_id = model_id
        self.replaces = replaces
        self.load_id: str | None = None
        self.was_ready = False
        self.end: Ending | None = None
        self._accepted: Snapshot | None = None
        self._attempts = 0

    def accept(self, load: LoadResource) -> None:
        """Take the load with which the server answers the request."""
        self.load_id, self.was_ready = load["load_id"], load["state"] == State.READY
        self._accepted = load["snapshot"]

    def is_earlier(self, payload: Snapshot) -> bool:
        """Whether the payload is from before the load: its events follow, also where it has ended by now."""
        accepted = self._accepted
        return (
            accepted is not None
            and payload.get("epoch") == accepted["epoch"]
            and payload["seq"] < accepted["seq"]
        )

    def expected(self, server: Server) -> str:
        """How long it will take, in words, once; empty where that was said, or is not known to the server."""
        if self._attempts >= _ATTEMPTS:
            return ""
        self._attempts += 1
        try:
            own, past = server.load(str(self.load_id)), server.completed_loads(self.model_id, limit=2)
            outlook = outlook_of(own, past)
        except ModelhubError:  # a lost connection is shown by itself
            return ""
        if outlook is None:
            return ""
        self._attempts = _ATTEMPTS
        return expected(outlook)

    def refuse(self, error: ModelhubError, state: State = State.FAILED) -> None:
        """End it with an error, where there is no load that says more."""
        payload: ErrorPayload = {**error.to_dict(), "step": None}
        self.end = {"id": self.model_id, "load_id": self.load_id, "state": state, "error": payload}

    def take_end(self, load: LoadResource) -> None:
        """Take the end of the load from the journal, where no event brought it."""
        if load["state"] not in ACTIVE:
            # The journal's "by" is where it was requested from, the snapshot's where it was cancelled from.
            final = {"id": self.model_id, "state": load["state"], "error": load["error"]}
            self.end = cast(Ending, {**load, "by": None, **(load["snapshot"] or {}), **final})


def request_and_watch(server: Server, feed: Feed, load: RequestedLoad, options: LoadOptions) -> None:
    """Request a load and follow its events, from the first one where the server knows the model."""
    try:
        feed.watch(load.model_id)
        unknown = False
    except ModelhubError:
        unknown = True
    request(server, load, options)
    if unknown and load.end is None:
        feed.watch(load.model_id)


def request(server: Server, load: RequestedLoad, options: LoadOptions) -> LoadResource | None:
    """Request a load; returns it, or None where it was refused. Raises ``server_unreachable`` only."""
    try:
        accepted = server.start_load(load.model_id, options, load.replaces)
    except ModelhubError as error:
        if error.code == "server_unreachable":
            raise
        load.refuse(error)
        return None
    load.accept(accepted)
    return accepted


def follow(server: Server, feed: Feed, loads: list[RequestedLoad], view: View) -> None:
    """Show the loads until all have ended; raises ``server_unreachable`` when the server stays away."""
    open_loads = {load.model_id: load for load in loads if load.end is None}
    for load in loads:
        if load.end is not None:
            view.finish(load.end)
    for name, payload in feed.news() if open_loads else ():
        if text := about_server(name, payload):
            view.note(text)
        elif name != TICK and payload["id"] in open_loads:
            load = open_loads[payload["id"]]
            _take(server, load, name, payload, view)
            if load.end is not None:
                view.finish(load.end)
                del open_loads[load.model_id]
        if not open_loads:
            return


def _take(server: Server, load: RequestedLoad, name: str, payload: Snapshot, view: View) -> None:
    if payload["load_id"] == load.load_id:
        if payload["state"] == State.LOADING and (text := load.expected(server)):
            view.expect(load.model_id, text)
        view.show(name, payload)
        if payload["state"] not in ACTIVE:
            load.end = cast(Ending, {**payload, "was_ready": load.was_ready})
        return
    if load.is_earlier(payload):
        return
    try:  # ended, and followed by another load: the journal knows
        load.take_end(server.load(str(load.load_id)))
    except ModelhubError as error:
        if error.code == "unknown_load":  # the server has another journal now
            load.refuse(ModelhubError("interrupted", id=load.model_id), State.INTERRUPTED)
        elif error.code != "server_unreachable":  # then the feed reconnects first
            raise


def result(end: Ending) -> dict[str, object]:
    """How a load ended, for a program to read."""
    return {"event": "result", "id": end["id"], **{name: end.get(name) for name in _RESULT}}


def all_ready(loads: Iterable[RequestedLoad]) -> bool:
    """Whether every requested model is in memory and usable."""
    return all(load.end is not None and load.end["state"] == State.READY for load in loads)
