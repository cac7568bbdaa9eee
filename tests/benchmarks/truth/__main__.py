"""How true progress and time left are: ``python -m tests.benchmarks.truth [--traces FILE] [--live FILE]``.

Replays recorded loads through modelhub and through four other bars, and prints for loads of a second and
more, and for shorter ones, how true what a watcher would have been shown is. "Seen" has learned from all
other loads, "unseen" from the loads of other models only, "first" from none. ``--live`` scores what real
watchers saw while the loads of that file were recorded (by ``tests.benchmarks.truth.record``), on a server
that learned as it went on.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path

from modelhub.progress.expectation import Expectation
from modelhub.progress.history import History
from modelhub.progress.replay import Recording, Seen, is_complete, past_of, replay
from modelhub.progress.score import Score, score
from tests.benchmarks.truth import baselines, table, traces
from tests.benchmarks.truth.traces import Trace

TRACES = Path(__file__).parents[2] / "progress" / "traces"


def main() -> None:
    """Run it, print a table and a JSON line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.truth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--traces", type=Path, nargs="*", default=sorted(TRACES.glob("*.jsonl")))
    parser.add_argument("--live", type=Path, help="recorded loads with what their watchers saw")
    parser.add_argument("--each", action="store_true", help="a line for each load too")
    options = parser.parse_args()
    found: dict[str, list[tuple[Recording, Score]]]
    if options.live:
        found = {"live": [(one, _watched(one)) for one in traces.read(options.live) if one.get("watched")]}
    else:
        found = replayed(_read(options.traces))
    table.show(found, options.each)


def replayed(recordings: list[Recording]) -> dict[str, list[tuple[Recording, Score]]]:
    """The scores of all recordings: with each history, and of each other bar."""
    found: dict[str, list[tuple[Recording, Score]]] = {
        name: [
            (one, score(replay(one, expectation(one, recordings, name), _stall_s(one)), one["seconds"]))
            for one in recordings
        ]
        for name in ("seen", "unseen", "first")
    }
    for name, make in baselines.BARS.items():
        found[name] = [(one, score(baselines.replay_with(make(), one), one["seconds"])) for one in recordings]
    return found


def expectation(one: Recording, recordings: list[Recording], name: str) -> partial[Expectation]:
    """What a load is expected to take: by the other loads, by those of other models, or by none."""
    history = History()
    others = [other for other in recordings if other is not one and _machine(other) == _machine(one)]
    if name == "unseen":
        others = [other for other in others if other["model"] != one["model"]]
    if name != "first":
        history.learn(map(past_of, others))
    return partial(history.expect, one["model"])


def _machine(one: Recording) -> str:
    """Loads with a slow disk or with little memory are those of another machine: it learns from its own."""
    if one["case"] in ("throttled", "stall", "stall-disk"):
        return "a slow disk"
    return one["case"] if one["case"] in ("pressure", "thrashing") else ""


def _stall_s(one: Recording) -> float:
    """As on the server where it was recorded."""
    return 3.0 if "stall" in one["case"] else 10.0


def _read(paths: list[Path]) -> list[Recording]:
    lines = [line for path in paths for line in path.read_text().splitlines()]
    return [one for one in map(json.loads, lines) if is_complete(one)]


def _watched(one: Trace) -> Score:
    """By what a watcher saw up to the last event, which says that the load has ended."""
    seen = [
        Seen(at or 0.0, progress or 0.0, left, low, high, stalled is not None)
        for at, progress, left, low, high, _, stalled in one["watched"][:-1]
    ]
    return score(seen, one["seconds"])


if __name__ == "__main__":
    main()
