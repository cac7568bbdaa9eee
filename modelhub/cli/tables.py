"""Tables of the terminal: the models, and how the loads of a command ended."""

from __future__ import annotations

import sys
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from modelhub import units
from modelhub.cli import wording
from modelhub.wording import SOURCES, STATES

COLOURS = {"ready": "green", "loading": "cyan", "queued": "cyan", "unloading": "cyan", "failed": "red"}
COLOURS |= {"interrupted": "red", "cancelled": "yellow"}
_WIDE = 1000
_NARROW = 80  # characters; a terminal below that has no room for the columns that can be spared
_SPARED = ("Device", "From")
_SHORT = ("State", "Time", "Size", "Weights", "Memory")


def is_terminal() -> bool:
    """Whether bars can be drawn on standard output."""
    return sys.stdout.isatty() and not Console().is_dumb_terminal


def show(table: Table) -> None:
    """Print a table: within the terminal's width, or without cuts and frames when piped."""
    if is_terminal():
        Console().print(table)
        return
    table.box, table.show_edge = None, False
    console = Console(width=_WIDE, no_color=True, force_terminal=False)
    with console.capture() as capture:
        console.print(table)
    print("\n".join(line.rstrip() for line in capture.get().splitlines()), flush=True)


def summary(ends: list[dict[str, Any]]) -> Table:
    """How each load ended: time, bytes, memory, where from."""
    return _table(("Model", "State", "Time", "Weights", "Memory", *_SPARED), [_end(end) for end in ends])


def models(resources: list[dict[str, Any]], with_hints: bool = True) -> Table:
    """Every model with its state, size, source and how far it is."""
    rows: list[list[str | Text]] = []
    for resource in resources:
        source = SOURCES.get(resource["source"], resource["source"])
        size, now = _size(resource["size_bytes"]), Text(_now(resource["snapshot"], with_hints))
        if resource["random_weights"]:
            source += ", random weights"
        rows.append([resource["id"], state(resource["state"]), size, source, now])
    return _table(("Model", "State", "Size", "From", "Now"), rows)


def state(name: str) -> Text:
    """A state in words, in its colour."""
    return Text(STATES.get(name, name), style=COLOURS.get(name, ""))


def _end(end: dict[str, Any]) -> list[str | Text]:
    source = end.get("source") or ""
    seconds = end.get("seconds") if end.get("seconds") is not None else end.get("elapsed")
    device = (end.get("device"), end.get("dtype")) if end["state"] == "ready" else ()
    return [
        end["id"],
        state(end["state"]),
        "" if seconds is None else units.duration(seconds),
        _size(end.get("bytes")),
        _size(end.get("memory")),
        " ".join(filter(None, device)),
        SOURCES.get(source, source),
    ]


def _now(snapshot: dict[str, Any], with_hints: bool) -> str:
    if snapshot["state"] == "loading":
        share = "" if snapshot["progress"] is None else f"{int(snapshot['progress'] * 100)}% · "
        return f"{share}{wording.stalled(snapshot) or wording.now(snapshot)}"
    if snapshot["state"] == "ready":
        memory = snapshot.get("memory")
        return "" if memory is None else f"{units.size(memory)} of memory"
    if snapshot["error"] and with_hints:
        return wording.failure(snapshot)
    return "" if snapshot["state"] == "absent" and not snapshot["error"] else wording.headline(snapshot)


def _size(bytes_: int | None) -> str:
    return "" if bytes_ is None else units.size(bytes_)


def _table(names: tuple[str, ...], rows: list[list[str | Text]]) -> Table:
    """A table whose first column is never cut; on a narrow terminal without what can be spared."""
    is_narrow = is_terminal() and Console().width < _NARROW
    kept = [index for index, name in enumerate(names) if not (is_narrow and name in _SPARED)]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1 if is_narrow else 2, 0, 0))
    for index in kept:
        name = names[index]
        table.add_column(name, overflow="fold", min_width=16 if index == 0 else None, no_wrap=name in _SHORT)
    for row in rows:
        table.add_row(*(row[index] for index in kept))
    return table
