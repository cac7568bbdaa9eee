"""The loads that one command asked for: how far each is, and how it ended."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from modelhub.cli.feed import TICK, Feed, about_server
from modelhub.cli.server import Server
from modelhub.errors import ModelhubError

RUNNING = ("queued", "loading")
READY = "ready"
_RESULT = ("load_id", "state", "seconds", "bytes", "memory", "device", "dtype", "source", "error")


class View(Protocol):
    """Where a command shows how its loads are going. A payload is a model's full state."""

    def show(self, name: str, payload: dict[str, Any]) -> None:
        """An event, or a snapshot."""

    def note(self, words: str) -> None:
        """What became of the connection."""

    def finish(self, payload: dict[str, Any]) -> None:
        """A load has ended; ``payload`` says how."""

    def close(self, ends: list[dict[str, Any]]) -> None:
        """All is said; ``ends`` are the payloads of the loads that ended."""


class Wanted:
    """One model that was asked for: ``end`` is None until its load has ended."""

    def __init__(self, model_id: str) -> None:
        self.model_id = model_id
        self.load_id: str | None = None
        self.was_ready = False
        self.end: dict[str, Any] | None = None

    def refuse(self, error: ModelhubError, state: str = "failed") -> None:
        """There is no load that would say more than this error."""
        words = {**error.to_dict(), "step": None}
        self.end = {"id": self.model_id, "load_id": self.load_id, "state": state, "error": words}

    def settle(self, load: dict[str, Any]) -> None:
        """Take the load as the journal has it: the last word where the rooms have none."""
        if load["state"] not in RUNNING:
            last = load["snapshot"] or {}  # its "by" is who ended the load, the journal's who asked for it
            final = {"id": self.model_id, "state": load["state"], "error": load["error"]}
            self.end = {**load, "by": None, **last, **final}


def request(server: Server, feed: Feed, wanted: Wanted, force: bool) -> None:
    """Ask for a load and follow its room, from before its first event where that can be."""
    try:
        feed.watch(wanted.model_id)
        unknown = False
    except ModelhubError:
        unknown = True
    ask(server, wanted, force)
    if unknown and wanted.end is None:
        feed.watch(wanted.model_id)


def ask(server: Server, wanted: Wanted, force: bool) -> dict[str, Any] | None:
    """Ask for a load; answers it, or None where it was refused. Raises ``server_unreachable`` only."""
    try:
        load = server.start_load(wanted.model_id, force)
    except ModelhubError as error:
        if error.code == "server_unreachable":
            raise
        wanted.refuse(error)
        return None
    wanted.load_id, wanted.was_ready = load["load_id"], load["state"] == READY
    return load


def follow(server: Server, feed: Feed, loads: list[Wanted], view: View) -> None:
    """Show the loads until all have ended; raises ``server_unreachable`` when the server stays away."""
    open_loads = {wanted.model_id: wanted for wanted in loads if wanted.end is None}
    for wanted in loads:
        if wanted.end is not None:
            view.finish(wanted.end)
    for name, payload in feed.news() if open_loads else ():
        if said := about_server(name, payload):
            view.note(said)
        elif name != TICK and payload["id"] in open_loads:
            wanted = open_loads[payload["id"]]
            _take(server, wanted, name, payload, view)
            if wanted.end is not None:
                view.finish(wanted.end)
                del open_loads[wanted.model_id]
        if not open_loads:
            return


def _take(server: Server, wanted: Wanted, name: str, payload: dict[str, Any], view: View) -> None:
    if payload["load_id"] == wanted.load_id:
        view.show(name, payload)
        if payload["state"] not in RUNNING:
            wanted.end = {**payload, "was_ready": wanted.was_ready}
        return
    try:  # not begun yet, or over and followed by another load: the journal knows
        wanted.settle(server.load(str(wanted.load_id)))
    except ModelhubError as error:
        if error.code == "unknown_load":  # the server has another journal now
            wanted.refuse(ModelhubError("interrupted", id=wanted.model_id), "interrupted")
        elif error.code != "server_unreachable":  # then the line is lost, and mended first
            raise


def result(end: dict[str, Any]) -> dict[str, Any]:
    """How a load ended, for a program to read."""
    return {"event": "result", "id": end["id"], **{name: end.get(name) for name in _RESULT}}


def all_ready(loads: Iterable[Wanted]) -> bool:
    """Whether every model asked for is in memory and usable."""
    return all(wanted.end is not None and wanted.end["state"] == READY for wanted in loads)
