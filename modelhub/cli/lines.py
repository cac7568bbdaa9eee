"""Loads as plain text, for logs and pipes: lines with a timestamp, or the events as JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping

import click

from modelhub import units
from modelhub.cli import wording
from modelhub.cli.loads import Ending, result
from modelhub.payloads import LoadResource, Snapshot
from modelhub.placement_wording import place
from modelhub.states import ACTIVE

_WITHIN_STEP_S = 5.0


class Lines:
    """One line per step and change of state, and at most one in 5 s within a step."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._shown: dict[str, tuple[object, ...]] = {}
        self._shown_at: dict[str, float] = {}
        self._places: dict[str, str] = {}

    def show(self, name: str, payload: Snapshot) -> None:
        """Print what is new in a model's state."""
        if payload["state"] not in ACTIVE:
            return
        model_id, now = payload["id"], self._clock()
        is_stalled = payload["stalled_for"] is not None
        shown = (payload["state"], payload["queue_position"], payload["step"], is_stalled)
        self._show_place(payload)
        is_new = shown != self._shown.get(model_id)
        if is_new or now - self._shown_at[model_id] >= _WITHIN_STEP_S:
            self._shown[model_id], self._shown_at[model_id] = shown, now
            _print_line(model_id, wording.stalled(payload) if is_stalled else wording.now(payload))

    def _show_place(self, payload: Snapshot) -> None:
        """Print the node of a load once, and again where it goes on at another one."""
        where = place(payload)
        if where and where != self._places.get(payload["id"]):
            self._places[payload["id"]] = where
            _print_line(payload["id"], units.capitalized(where))

    def accepted(self, load: LoadResource) -> None:
        """Print that the server accepted a load, and how far it is."""
        _print_line(load["model_id"], wording.accepted(load))

    def expect(self, model_id: str, text: str) -> None:
        """Print how long a load will take."""
        _print_line(model_id, units.capitalized(text))

    def note(self, text: str) -> None:
        """Print news of the connection."""
        _print_line(None, text)

    def finish(self, payload: Ending) -> None:
        """Print how a load ended."""
        _print_line(payload["id"], wording.ending(payload))

    def close(self, ends: list[Ending]) -> None:
        """Print the summary."""
        from modelhub.cli import tables

        if ends:
            click.echo()
            tables.show(tables.summary(ends))


class Json:
    """One JSON object per line: the events as they came, and for each load its result."""

    def show(self, name: str, payload: Snapshot) -> None:
        """Print an event, with its name as ``event``."""
        _print_json({"event": name, **payload})

    def accepted(self, load: LoadResource) -> None:
        """Print the load."""
        _print_json({"event": "load", **load})

    def expect(self, model_id: str, text: str) -> None:
        """The events have it as ``eta``."""

    def note(self, text: str) -> None:
        """Print it on standard error, beside the stream."""
        click.echo(text, err=True)

    def finish(self, payload: Ending) -> None:
        """Print a result."""
        _print_json(result(payload))

    def close(self, ends: list[Ending]) -> None:
        """Nothing is left to print."""


def _print_line(model_id: str | None, text: str) -> None:
    click.echo("  ".join(filter(None, (time.strftime("%Y-%m-%d %H:%M:%S"), model_id, text))))


def _print_json(item: Mapping[str, object]) -> None:
    click.echo(json.dumps(item, ensure_ascii=False, separators=(",", ":")))
