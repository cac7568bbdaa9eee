"""Loads that a command requested, followed over a real connection."""

from __future__ import annotations

from modelhub.checkpoints import LoadOptions
from modelhub.cli import server as clients
from modelhub.cli.feed import Feed
from modelhub.cli.loads import Ending, RequestedLoad, follow, request_and_watch
from modelhub.payloads import Snapshot
from modelhub.units import duration
from tests.support.ids import LLAMA
from tests.support.server import Server
from tests.support.truth import check_truth


class Recorder:
    """A view that keeps what it was shown."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, Snapshot]] = []
        self.ends: list[Ending] = []
        self.expected: list[tuple[str, str]] = []

    def show(self, name: str, payload: Snapshot) -> None:
        """An event."""
        self.shown.append((name, payload))

    def expect(self, model_id: str, text: str) -> None:
        """How long it will take."""
        self.expected.append((model_id, text))

    def note(self, text: str) -> None:
        """News of the connection."""
        raise AssertionError(text)

    def finish(self, payload: Ending) -> None:
        """A load has ended."""
        self.ends.append(payload)

    def close(self, ends: list[Ending]) -> None:
        """Nothing more will come."""


def test_a_load_that_has_ended_before_it_is_followed_is_shown_from_its_start(empty_server: Server) -> None:
    load, view = RequestedLoad(LLAMA), Recorder()
    rest = clients.Server(empty_server.url)
    with Feed(empty_server.url) as feed:
        request_and_watch(rest, feed, load, LoadOptions())
        empty_server.wait_state(LLAMA, ("ready",))  # as while the command requests its next model
        follow(rest, feed, [load], view)
    check_truth(view.shown)
    assert [end["state"] for end in view.ends] == ["ready"]


def test_it_is_said_once_how_long_a_load_will_take(empty_server: Server) -> None:
    rest, said = clients.Server(empty_server.url), []
    for _ in range(2):
        load, view = RequestedLoad(LLAMA), Recorder()
        empty_server.wait_spare()
        with Feed(empty_server.url) as feed:
            request_and_watch(rest, feed, load, LoadOptions())
            follow(rest, feed, [load], view)
        said += view.expected
        empty_server.unload_all()
    assert said[1:] == [(LLAMA, f"loaded in {duration(_seconds(empty_server))} last time")]


def _seconds(server: Server) -> float:
    """How long the last load but one took."""
    _, before = server.get("/api/loads", params={"model": LLAMA, "limit": 2}).json()["loads"]
    return float(before["seconds"])
