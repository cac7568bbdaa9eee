"""``models``: the table once, or with --watch until Ctrl-C."""

from __future__ import annotations

import contextlib
import json
from typing import Any, cast

import click
from rich.console import Console, Group, RenderableType
from rich.text import Text

from modelhub import units, wording
from modelhub.cli import tables
from modelhub.cli.feed import BACK, SNAPSHOT, TICK, Feed, about_server
from modelhub.cli.lines import Json, Lines
from modelhub.cli.loads import Ending
from modelhub.cli.server import Server
from modelhub.errors import ModelhubError
from modelhub.payloads import ModelResource, Snapshot
from modelhub.states import ACTIVE, State


def show(server: Server, as_json: bool) -> None:
    """Print every model with its state; raises ``server_unreachable``."""
    models = server.models()
    if as_json:
        click.echo(json.dumps({"models": models, "total": len(models)}, ensure_ascii=False))
    else:
        tables.show(tables.models(models))


def watch(server: Server, as_json: bool) -> None:
    """Show what changes until Ctrl-C: a live table on a terminal, lines or events elsewhere."""
    with (
        contextlib.suppress(KeyboardInterrupt),
        Feed(server.url, everything=True, token=server.token) as feed,
    ):
        if as_json or not tables.is_terminal():
            _print_changes(feed, Json() if as_json else Lines(), server.url)
        else:
            _draw(server, feed)


def _print_changes(feed: Feed, view: Json | Lines, url: str) -> None:
    known: dict[str, tuple[State, str | None]] | None = None
    for name, payload in feed.news():
        if text := about_server(name, payload):
            view.note(text)
        elif name != TICK:
            if known is None:
                view.note(f"Watching the models of {url}.")
            snapshots: list[Snapshot] = [payload]
            if name == SNAPSHOT:
                snapshots = [model["snapshot"] for model in payload["models"]]
            for snapshot in snapshots:
                view.show(name, snapshot)
                shown = (snapshot["state"], snapshot["load_id"])
                if known is not None and shown != known.get(snapshot["id"], (State.ABSENT, None)):
                    _finish(view, snapshot)
            known = {**(known or {}), **{s["id"]: (s["state"], s["load_id"]) for s in snapshots}}


def _finish(view: Json | Lines, snapshot: Snapshot) -> None:
    if isinstance(view, Lines) and snapshot["state"] not in ACTIVE:
        view.finish(cast(Ending, snapshot))


def _draw(server: Server, feed: Feed) -> None:
    from rich.live import Live

    screen = Screen()
    with Live(screen=True, refresh_per_second=8, get_renderable=screen.draw):
        for name, payload in feed.news():
            if screen.receive(name, payload):
                with contextlib.suppress(ModelhubError):  # a lost connection is shown by itself
                    parts = wording.memory_parts(server.budget())
                    screen.memory = " · ".join(part.words for part in parts)


class Screen:
    """The dashboard on a terminal: what needs attention first, as many models as fit."""

    def __init__(self) -> None:
        self.memory = ""
        self._models: dict[str, ModelResource] = {}
        self._note = ""

    def receive(self, name: str, payload: Any) -> bool:
        """Take news; returns whether memory use may have changed."""
        if text := about_server(name, payload):
            self._note = "" if name == BACK else text
        elif name == SNAPSHOT:
            self._models = {model["id"]: model for model in payload["models"]}
            return True
        elif name != TICK and payload["id"] in self._models:
            known = self._models[payload["id"]]
            self._models[payload["id"]] = {**known, "state": payload["state"], "snapshot": payload}
            return (payload["state"], payload["step"]) != (known["state"], known["snapshot"]["step"])
        return False

    def draw(self) -> RenderableType:
        """All of it, within the terminal's height."""
        models = sorted(self._models.values(), key=lambda model: wording.rank(model["state"]))
        console = Console()
        fewest, most = 0, min(len(models), console.height)
        while fewest < most:
            tried = (fewest + most + 1) // 2
            fits = len(console.render_lines(self._page(models, tried))) <= console.height
            fewest, most = (tried, most) if fits else (fewest, tried - 1)
        return self._page(models, fewest)

    def _page(self, models: list[ModelResource], shown: int) -> RenderableType:
        rest = len(models) - shown
        more = f"and {units.count(rest)} more: 'flask models' lists all" if rest else ""
        lines = [Text(line, style="dim") for line in (more, self.memory) if line]
        return Group(
            tables.models(models[:shown], with_hints=False), *lines, Text(self._note, style="yellow")
        )
