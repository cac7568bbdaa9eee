"""Loads on a terminal: a live bar per model, and a permanent line for each load that has ended."""

from __future__ import annotations

import time

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from modelhub import units
from modelhub.cli import tables, wording
from modelhub.cli.loads import Ending
from modelhub.payloads import Snapshot
from modelhub.placement_wording import place
from modelhub.states import ACTIVE, State
from modelhub.wording import headline

_REFRESH_HZ = 8


class Bars:
    """A bar per load. One thread takes events, another one draws."""

    def __init__(self, model_ids: list[str]) -> None:
        self._rows: dict[str, tuple[Snapshot, float] | None] = dict.fromkeys(model_ids)
        self._expected: dict[str, str] = {}
        self._console = Console(highlight=False)
        self._live = Live(
            console=self._console,
            get_renderable=self._draw,
            refresh_per_second=_REFRESH_HZ,
            transient=True,
        )
        self._live.start()

    def show(self, name: str, payload: Snapshot) -> None:
        """Move a model's bar."""
        if payload["state"] in ACTIVE:
            self._rows[payload["id"]] = (payload, time.monotonic())

    def expect(self, model_id: str, text: str) -> None:
        """Say below a model's bar how long its load will take."""
        self._expected[model_id] = units.capitalized(text)

    def note(self, text: str) -> None:
        """Print news of the connection."""
        self._console.print(Text(text, style="yellow"))

    def finish(self, payload: Ending) -> None:
        """Put a permanent line in the place of the bar."""
        self._rows.pop(payload["id"], None)
        self._live.refresh()
        colour = tables.COLOURS.get(payload["state"], "")
        self._console.print(Text.assemble((payload["id"], "bold"), "  ", (wording.ending(payload), colour)))

    def close(self, ends: list[Ending]) -> None:
        """Remove the bars and print the summary."""
        self.stop()
        if ends:
            tables.show(tables.summary(ends))

    def stop(self) -> None:
        """Remove the bars, so that there is room for a question."""
        self._live.stop()

    def _draw(self) -> RenderableType:
        rows = list(self._rows.items())
        return Group(*(self._row(model_id, *(row or (None, 0.0))) for model_id, row in rows))

    def _row(self, model_id: str, payload: Snapshot | None, at: float) -> RenderableType:
        progress = (payload and payload["progress"]) or 0.0
        top = Table.grid(padding=(0, 2), expand=True)
        top.add_column(no_wrap=True, overflow="ellipsis", ratio=2)
        top.add_column(ratio=3)
        top.add_column(justify="right", width=4)
        bar = ProgressBar(total=1.0, completed=progress, complete_style="cyan", finished_style="cyan")
        top.add_row(Text(model_id, style="bold"), bar, f"{int(progress * 100)}%")
        lines = _below(payload, at, self._expected.get(model_id, ""))
        return Group(top, *(Text(*line, no_wrap=True, overflow="ellipsis") for line in lines))


def _below(payload: Snapshot | None, at: float, expected: str) -> list[tuple[str, str]]:
    """The lines below a bar, each with its style."""
    if payload is None:
        return [("  Requesting", "dim")]
    if payload["state"] != State.LOADING:
        return [(f"  {headline(payload)}", "dim")]
    elapsed = units.duration((payload["elapsed"] or 0.0) + time.monotonic() - at)
    lines = [(f"  {' · '.join(filter(None, (wording.step(payload), elapsed)))}", "")]
    details = " · ".join(
        filter(None, (wording.within_step(payload), units.printable(payload["detail"] or "")))
    )
    stalled = wording.stalled(payload)
    lines += [(f"  {text}", "dim") for text in (details, expected, place(payload)) if text]
    return [*lines, (f"  {stalled}", "yellow")] if stalled else lines
