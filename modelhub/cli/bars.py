"""Loads on a terminal: a live bar per model, and a lasting line for each that has ended."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from modelhub import units
from modelhub.cli import tables, wording
from modelhub.cli.loads import RUNNING

_REFRESH_HZ = 8


class Bars:
    """A bar per load. Events come from one thread, drawing is done by another."""

    def __init__(self, model_ids: list[str]) -> None:
        self._rows: dict[str, tuple[dict[str, Any], float] | None] = dict.fromkeys(model_ids)
        self._console = Console(highlight=False)
        self._live = Live(
            console=self._console,
            get_renderable=self._draw,
            refresh_per_second=_REFRESH_HZ,
            transient=True,
        )
        self._live.start()

    def show(self, name: str, payload: dict[str, Any]) -> None:
        """Move a model's bar."""
        if payload["state"] in RUNNING:
            self._rows[payload["id"]] = (payload, time.monotonic())

    def note(self, words: str) -> None:
        """Say what became of the connection."""
        self._console.print(Text(words, style="yellow"))

    def finish(self, payload: dict[str, Any]) -> None:
        """Put a lasting line in the place of the bar."""
        self._rows.pop(payload["id"], None)
        self._live.refresh()
        colour = tables.COLOURS.get(payload["state"], "")
        self._console.print(Text.assemble((payload["id"], "bold"), "  ", (wording.ending(payload), colour)))

    def close(self, ends: list[dict[str, Any]]) -> None:
        """Take the bars away and print the summary."""
        self.stop()
        if ends:
            tables.show(tables.summary(ends))

    def stop(self) -> None:
        """Take the bars away, so that something can be asked."""
        self._live.stop()

    def _draw(self) -> RenderableType:
        rows = list(self._rows.items())
        return Group(*(self._row(model_id, *(row or (None, 0.0))) for model_id, row in rows))

    def _row(self, model_id: str, payload: dict[str, Any] | None, at: float) -> RenderableType:
        progress = (payload and payload["progress"]) or 0.0
        top = Table.grid(padding=(0, 2), expand=True)
        top.add_column(no_wrap=True, overflow="ellipsis", ratio=2)
        top.add_column(ratio=3)
        top.add_column(justify="right", width=4)
        bar = ProgressBar(total=1.0, completed=progress, complete_style="cyan", finished_style="cyan")
        top.add_row(Text(model_id, style="bold"), bar, f"{int(progress * 100)}%")
        return Group(top, *(Text(*line, no_wrap=True, overflow="ellipsis") for line in _below(payload, at)))


def _below(payload: dict[str, Any] | None, at: float) -> list[tuple[str, str]]:
    """The lines below a bar, each with its style."""
    if payload is None:
        return [("  Asking the server", "dim")]
    if payload["state"] != "loading":
        return [(f"  {wording.headline(payload)}", "dim")]
    elapsed = units.duration((payload["elapsed"] or 0.0) + time.monotonic() - at)
    lines = [(f"  {' · '.join(filter(None, (wording.step(payload), elapsed)))}", "")]
    inside = " · ".join(filter(None, (wording.inside(payload), units.printable(payload["detail"] or ""))))
    stalled = wording.stalled(payload)
    lines += [(f"  {inside}", "dim")] if inside else []
    return [*lines, (f"  {stalled}", "yellow")] if stalled else lines
