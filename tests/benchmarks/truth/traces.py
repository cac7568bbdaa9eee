"""A trace: what the journal knows of one load, and what one that watched it saw; kept as lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NotRequired

from modelhub.progress.replay import Recording

# Seconds since the load began at the watcher, progress, eta, eta_low, eta_high, step, stalled_for.
Sight = list[float | None]


class Trace(Recording):
    """One completed load. ``watched`` has each event up to the last one, as it arrived."""

    watched: NotRequired[list[Sight]]


def line_of(trace: Trace) -> str:
    """A line of a file of traces."""
    return json.dumps(trace, separators=(",", ":")) + "\n"


def read(path: Path) -> Iterator[Trace]:
    """The traces of a file."""
    with path.open() as lines:
        for line in lines:
            trace: Trace = json.loads(line)
            yield trace


def write(path: Path, traces: Iterable[Trace]) -> None:
    """Write a file of traces."""
    path.write_text("".join(map(line_of, traces)))
