"""Tables of the terminal: the models, and how the loads of a command ended."""

from __future__ import annotations

import sys
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from modelhub import words
from modelhub.cli import sentences
from modelhub.web import phrases

COLOURS = {"ready": "green", "loading": "cyan", "queued": "cyan", "unloading": "cyan", "failed": "red"}
COLOURS |= {"interrupted": "red", "cancelled": "yellow"}
_WIDE = 1000


def is_terminal() -> bool:
    """Whether bars can be drawn on standard output."""
    return sys.stdout.isatty() and not Console().is_dumb_terminal


def show(table: Table) -> None:
    """Print a table: within the terminal's width, or without cuts and frames when piped."""
    if is_terminal():
        Console().print(table)
        return
    table.box, table.show_edge, table.padding = None, False, (0, 2, 0, 0)
    console = Console(width=_WIDE, no_color=True, force_terminal=False)
    with console.capture() as capture:
        console.print(table)
    print("\n".join(line.rstrip() for line in capture.get().splitlines()), flush=True)


def summary(ends: list[dict[str, Any]]) -> Table:
    """How each load ended: time, bytes, memory, where from."""
    table = _table("Model", "State", "Time", "Weights", "Memory", "Device", "From")
    for end in ends:
        is_ready = end["state"] == "ready"
        source = end.get("source") or ""
        seconds = end.get("seconds") if end.get("seconds") is not None else end.get("elapsed")
        table.add_row(
            end["id"],
            state(end["state"]),
            "" if seconds is None else words.duration(seconds),
            _size(end.get("bytes")),
            _size(end.get("memory")),
            " ".join(filter(None, (end.get("device"), end.get("dtype")))) if is_ready else "",
            phrases.SOURCES.get(source, source),
        )
    return table


def models(resources: list[dict[str, Any]]) -> Table:
    """Every model with its state, size, source and how far it is."""
    table = _table("Model", "State", "Size", "From", "Now")
    for resource in resources:
        source = phrases.SOURCES.get(resource["source"], resource["source"])
        table.add_row(
            resource["id"],
            state(resource["state"]),
            _size(resource["size_bytes"]),
            f"{source}, random weights" if resource["random_weights"] else source,
            Text(_now(resource["snapshot"])),
        )
    return table


def state(name: str) -> Text:
    """A state in words, in its colour."""
    return Text(phrases.STATES.get(name, name), style=COLOURS.get(name, ""))


def _now(snapshot: dict[str, Any]) -> str:
    if snapshot["state"] == "loading":
        share = "" if snapshot["progress"] is None else f"{int(snapshot['progress'] * 100)}% · "
        return f"{share}{sentences.stalled(snapshot) or sentences.now(snapshot)}"
    if snapshot["state"] == "ready":
        memory = snapshot.get("memory")
        return "" if memory is None else f"{words.size(memory)} of memory"
    if snapshot["state"] == "failed":
        return sentences.failure(snapshot)
    return "" if snapshot["state"] == "absent" else sentences.headline(snapshot)


def _size(bytes_: int | None) -> str:
    return "" if bytes_ is None else words.size(bytes_)


def _table(first: str, *names: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, overflow="fold")
    for name in names:
        table.add_column(name, no_wrap=name in ("State", "Time", "Size", "Weights", "Memory"))
    return table
