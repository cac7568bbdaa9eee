"""flask models: the table once, or for as long as it is watched."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import click

from modelhub.cli import tables
from modelhub.cli.feed import BACK, LOST, SNAPSHOT, TICK, Feed
from modelhub.cli.lines import Json, Lines
from modelhub.cli.loads import RUNNING
from modelhub.cli.server import Server


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
            _draw(feed)


def _print_changes(feed: Feed, view: Json | Lines, url: str) -> None:
    known: dict[str, tuple[str, str | None]] | None = None
    for name, payload in feed.news():
        if name == LOST:
            view.note("The connection to the server is lost; trying again.")
        elif name == BACK:
            view.note("Connected again.")
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


def _draw(feed: Feed) -> None:
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    models: dict[str, dict[str, Any]] = {}
    line = Text()

    def draw() -> Group:
        return Group(tables.models(list(models.values())), line)

    with Live(screen=True, refresh_per_second=8, get_renderable=draw):
        for name, payload in feed.news():
            if name == LOST:
                line = Text("The connection to the server is lost; trying again.", style="yellow")
            elif name == SNAPSHOT:
                line = Text()
                models = {model["id"]: model for model in payload["models"]}
            elif name not in (BACK, TICK) and payload["id"] in models:
                known = models[payload["id"]]
                models[payload["id"]] = {**known, "state": payload["state"], "snapshot": payload}
