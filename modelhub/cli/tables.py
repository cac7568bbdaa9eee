"""Tables for the terminal: the models, and how the loads of a command ended."""

from __future__ import annotations

import sys

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from modelhub import units
from modelhub.cli import wording
from modelhub.cli.loads import Ending
from modelhub.payloads import ModelResource, Snapshot
from modelhub.placement_wording import nodes
from modelhub.states import OCCUPYING, State
from modelhub.wording import SOURCE_NAMES, STATE_NAMES, headline, use

COLOURS = {
    State.READY: "green",
    State.LOADING: "cyan",
    State.QUEUED: "cyan",
    State.UNLOADING: "cyan",
    State.FAILED: "red",
    State.INTERRUPTED: "red",
    State.CANCELLED: "yellow",
}
_WIDE = 1000
_NARROW = 80  # characters; a narrower terminal does not show the optional columns
_OPTIONAL = ("Device", "Source")
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


def summary(ends: list[Ending]) -> Table:
    """How each load ended: time, bytes, memory, source; in a cluster also where."""
    names = ("Model", "State", "Time", "Weights", "Memory", *_OPTIONAL)
    return _with_nodes(names, [_end(end) for end in ends], [end.get("node") or "" for end in ends])


def models(resources: list[ModelResource], with_hints: bool = True) -> Table:
    """Every model with its state, size, source and how far it is; in a cluster also where."""
    rows: list[list[str | Text]] = []
    for resource in resources:
        source = SOURCE_NAMES.get(resource["source"], resource["source"])
        size, now = _size(resource["size_bytes"]), Text(_now(resource["snapshot"], with_hints))
        if resource["prepared"] and resource["state"] == State.ABSENT:
            now = Text("prepared: loads sooner")
        shown = state(resource["state"])
        if (cannot_load := resource["cannot_load"]) and resource["state"] == State.ABSENT:
            shown, now = Text("Cannot be loaded", style="yellow"), Text(cannot_load["message"])
        if resource["random_weights"]:
            source += ", random weights"
        rows.append([resource["id"], shown, size, source, now])
    found = [_nodes(resource["snapshot"]) for resource in resources]
    return _with_nodes(("Model", "State", "Size", "Source", "Now"), rows, found)


def _nodes(snapshot: Snapshot) -> str:
    """The nodes that have the model in memory, or load it."""
    return nodes(snapshot) if snapshot["state"] in OCCUPYING else ""


def _with_nodes(names: tuple[str, ...], rows: list[list[str | Text]], found: list[str]) -> Table:
    """A table with the nodes after the state, where there are any."""
    if not any(found):
        return table(names, rows)
    rows = [[*row[:2], node, *row[2:]] for row, node in zip(rows, found, strict=True)]
    return table((*names[:2], "Node", *names[2:]), rows)


def table(names: tuple[str, ...], rows: list[list[str | Text]]) -> Table:
    """A table with a first column that is never cut; on a narrow terminal without the optional ones."""
    is_narrow = is_terminal() and Console().width < _NARROW
    kept = [index for index, name in enumerate(names) if not (is_narrow and name in _OPTIONAL)]
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1 if is_narrow else 2, 0, 0))
    for index in kept:
        name = names[index]
        shown.add_column(name, overflow="fold", min_width=16 if index == 0 else None, no_wrap=name in _SHORT)
    for row in rows:
        shown.add_row(*(row[index] for index in kept))
    return shown


def state(value: State) -> Text:
    """A state in words, in its colour."""
    return Text(STATE_NAMES[State(value)], style=COLOURS.get(value, ""))


def _end(end: Ending) -> list[str | Text]:
    source = end.get("source") or ""
    seconds = end.get("seconds") if end.get("seconds") is not None else end.get("elapsed")
    device = (end.get("device"), end.get("dtype")) if end["state"] == State.READY else ()
    return [
        end["id"],
        state(end["state"]),
        "" if seconds is None else units.duration(seconds),
        _size(end.get("bytes")),
        _size(end.get("memory")),
        " ".join(filter(None, device)),
        SOURCE_NAMES.get(source, source),
    ]


def _now(snapshot: Snapshot, with_hints: bool) -> str:
    if snapshot["state"] == State.LOADING:
        share = "" if snapshot["progress"] is None else f"{int(snapshot['progress'] * 100)}% · "
        return f"{share}{wording.stalled(snapshot) or wording.now(snapshot)}"
    if snapshot["state"] == State.READY:
        used = snapshot.get("use")  # an older server has none
        memory = snapshot.get("memory") if used is None else used["memory"]
        held = "" if memory is None else f"{units.size(memory)} of memory"
        return " · ".join(filter(None, (held, use(snapshot))))
    if snapshot["error"] and with_hints:
        return wording.failure(snapshot)
    return "" if snapshot["state"] == State.ABSENT else headline(snapshot)


def _size(bytes_: int | None) -> str:
    return "" if bytes_ is None else units.size(bytes_)
