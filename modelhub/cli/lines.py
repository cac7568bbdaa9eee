"""Loads as plain text, for logs and pipes: lines with the time, or the events as JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import click

from modelhub.cli import wording
from modelhub.cli.loads import RUNNING, result

_INSIDE_STEP_S = 5.0


class Lines:
    """One line per step and change of state, and at most one in 5 s inside a step."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: dict[str, tuple[object, ...]] = {}
        self._told_at: dict[str, float] = {}

    def show(self, name: str, payload: dict[str, Any]) -> None:
        """Say what is new in a model's state."""
        if payload["state"] not in RUNNING:
            return
        model_id, now = payload["id"], self._clock()
        is_stalled = payload["stalled_for"] is not None
        told = (payload["state"], payload["queue_position"], payload["step"], is_stalled)
        is_new = told != self._told.get(model_id)
        if is_new or now - self._told_at[model_id] >= _INSIDE_STEP_S:
            self._told[model_id], self._told_at[model_id] = told, now
            _say(model_id, wording.stalled(payload) if is_stalled else wording.now(payload))

    def accepted(self, load: dict[str, Any]) -> None:
        """Say that the server took a load on, and how far it is."""
        _say(load["model_id"], wording.accepted(load))

    def note(self, words: str) -> None:
        """Say what became of the connection."""
        _say(None, words)

    def finish(self, payload: dict[str, Any]) -> None:
        """Say how a load ended."""
        _say(payload["id"], wording.ending(payload))

    def close(self, ends: list[dict[str, Any]]) -> None:
        """Print the summary."""
        from modelhub.cli import tables

        if ends:
            click.echo()
            tables.show(tables.summary(ends))


class Json:
    """One JSON object per line: the events as they came, and for each load its result."""

    def show(self, name: str, payload: dict[str, Any]) -> None:
        """Print an event, with its name as ``event``."""
        _print({"event": name, **payload})

    def accepted(self, load: dict[str, Any]) -> None:
        """Print the load."""
        _print({"event": "load", **load})

    def note(self, words: str) -> None:
        """Say it beside the stream."""
        click.echo(words, err=True)

    def finish(self, payload: dict[str, Any]) -> None:
        """Print a result."""
        _print(result(payload))

    def close(self, ends: list[dict[str, Any]]) -> None:
        """Nothing is left to print."""


def _say(model_id: str | None, words: str) -> None:
    click.echo("  ".join(filter(None, (time.strftime("%Y-%m-%d %H:%M:%S"), model_id, words))))


def _print(item: dict[str, Any]) -> None:
    click.echo(json.dumps(item, ensure_ascii=False, separators=(",", ":")))
