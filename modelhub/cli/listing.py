"""flask models: the table once, or for as long as it is watched."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import click
from rich.console import Console, Group, RenderableType
from rich.text import Text

from modelhub import units, wording
from modelhub.cli import tables
from modelhub.cli.feed import BACK, SNAPSHOT, TICK, Feed, about_server
from modelhub.cli.lines import Json, Lines
from modelhub.cli.loads import RUNNING
from modelhub.cli.server import Server
from modelhub.errors import ModelhubError


def show(server: Server, as_json: bool) -> None:
    """Print every model with its state; raises ``server_unreachable``."""
    models = server.models()
    if as_json:
        click.echo(json.dumps({"models": models}, ensure_ascii=False))
    else:
        tables.show(tables.models(models))


def watch(server: Server, as_json: bool) -> None:
    """Show what changes until Ctrl-C: a live table on a terminal, lines or events elsewhere."""
    with contextlib.suppress(KeyboardInterrupt), Feed(server.url, everything=True) as feed:
        if as_json or not tables.is_terminal():
            _print_changes(feed, Json() if as_json else Lines(), server.url)
        else:
            _draw(server, feed)


def _print_changes(feed: Feed, view: Json | Lines, url: str) -> None:
    known: dict[str, tuple[str, str | None]] | None = None
    for name, payload in feed.news():
        if said := about_server(name, payload):
            view.note(said)
        elif name != TICK:
            if known is None:
                view.note(f"Watching the models of {url}.")
            states = [model["snapshot"] for model in payload["models"]] if name == SNAPSHOT else [payload]
            for state in states:
                view.show(name, state)
                told = (state["state"], state["load_id"])
                if known is not None and told != known.get(state["id"], ("absent", None)):
                    _tell_end(view, state)
            known = {**(known or {}), **{s["id"]: (s["state"], s["load_id"]) for s in states}}


def _tell_end(view: Json | Lines, state: dict[str, Any]) -> None:
    if isinstance(view, Lines) and state["state"] not in RUNNING:
        view.finish(state)


def _draw(server: Server, feed: Feed) -> None:
    from rich.live import Live

    screen = Screen()
    with Live(screen=True, refresh_per_second=8, get_renderable=screen.draw):
        for name, payload in feed.news():
            if screen.hear(name, payload):
                with contextlib.suppress(ModelhubError):  # then the line is lost, and that is said
                    screen.memory = " · ".join(words for _, _, words in wording.memory(server.ledger()))


class Screen:
    """The dashboard on a terminal: what needs attention first, as many models as there is room for."""

    def __init__(self) -> None:
        self.memory = ""
        self._models: dict[str, dict[str, Any]] = {}
        self._said = ""

    def hear(self, name: str, payload: dict[str, Any]) -> bool:
        """Take news; answers whether whose the memory is may have changed."""
        if said := about_server(name, payload):
            self._said = "" if name == BACK else said
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
        models = sorted(self._models.values(), key=lambda model: wording.rank(model["snapshot"]))
        console = Console()
        fewest, most = 0, min(len(models), console.height)
        while fewest < most:
            tried = (fewest + most + 1) // 2
            fits = len(console.render_lines(self._page(models, tried))) <= console.height
            fewest, most = (tried, most) if fits else (fewest, tried - 1)
        return self._page(models, fewest)

    def _page(self, models: list[dict[str, Any]], shown: int) -> RenderableType:
        rest = len(models) - shown
        more = f"and {units.count(rest)} more: 'flask models' lists all" if rest else ""
        lines = [Text(line, style="dim") for line in (more, self.memory) if line]
        return Group(
            tables.models(models[:shown], with_hints=False), *lines, Text(self._said, style="yellow")
        )
