"""What ``traces`` does: write recorded loads into a file, and replay those through the predictor."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, cast

import click
from rich.text import Text

from modelhub import units
from modelhub.cli import tables
from modelhub.cli.server import Server
from modelhub.payloads import LoadResource, Timeline
from modelhub.progress.history import History
from modelhub.progress.replay import Recording, is_complete, past_of, replay
from modelhub.progress.score import Score, score
from modelhub.states import STATES_OF_OUTCOME, Outcome
from modelhub.wording import UNKNOWN

_COLUMNS = ("Model", "Took", "Expected", "Bar off by", "at most", "Left at 25 %", "50 %", "75 %", "p10-p90")


def export(server: Server, model_id: str | None, limit: int, anonymous: bool, out: IO[str]) -> int:
    """Write the newest completed loads, of one model or of all, the oldest first; return how many."""
    loads = [*server.completed_loads(model_id, limit)]
    found = (_recording(load, server.timeline(load["load_id"]), anonymous) for load in reversed(loads))
    lines = [json.dumps(one, separators=(",", ":")) for one in found if one is not None]
    out.writelines(f"{line}\n" for line in lines)
    return len(lines)


def _recording(load: LoadResource, timeline: Timeline | None, anonymous: bool) -> Recording | None:
    """A load as a recording; None where an older version kept too little of it."""
    conditions, steps, seconds = load["conditions"], load["steps"], load["seconds"]
    is_known = timeline is not None and conditions is not None and steps is not None and seconds is not None
    if not is_known or load["state"] not in STATES_OF_OUTCOME[Outcome.COMPLETED]:
        return None
    name = load["model_id"]
    found = {
        "case": "",
        "model": hashlib.sha256(name.encode()).hexdigest()[:12] if anonymous else name,
        "seconds": seconds,
        "bytes": load["bytes"],
        "conditions": conditions,
        "steps": steps,
        "timeline": timeline,
    }
    return cast(Recording, found)


def read(paths: Iterable[Path]) -> Iterator[Recording]:
    """The recordings of files; raises BadParameter for what is none."""
    for path in paths:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                one: Recording = json.loads(line)
                if not is_complete(one):
                    continue
                past_of(one)
                replay(one, partial(History().expect, one["model"]))
            except (ValueError, KeyError, TypeError, AttributeError):
                raise click.BadParameter(f"{path.name}, line {number}: not a recorded load.") from None
            yield one


def show_replayed(recordings: list[Recording], only_others: bool) -> None:
    """Print for each load how true what would have been shown is, by what the others teach."""
    rows = []
    for one in recordings:
        history = History()
        history.learn(past_of(other) for other in recordings if _teaches(other, one, only_others))
        expect = partial(history.expect, one["model"])
        expected_s = expect(one["conditions"]).forecast()["seconds"]
        rows.append(_row(one, expected_s, score(replay(one, expect), one["seconds"])))
    tables.show(tables.table(_COLUMNS, rows))


def _teaches(other: Recording, one: Recording, only_others: bool) -> bool:
    return other is not one and not (only_others and other["model"] == one["model"])


def _row(one: Recording, expected_s: float, found: Score) -> list[str | Text]:
    left = [UNKNOWN if error is None else units.share(error) for error in found.left_errors]
    covered = UNKNOWN if found.covered is None else units.share(found.covered)
    times = units.fine_duration(one["seconds"]), units.fine_duration(expected_s)
    return [one["model"], *times, units.share(found.deviation), units.share(found.worst), *left, covered]
