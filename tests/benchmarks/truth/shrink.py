"""Makes traces small enough to keep: ``python -m tests.benchmarks.truth.shrink FROM TO [--watched]``."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from modelhub.payloads import Counts, Series, Timeline
from tests.benchmarks.truth.traces import Sight, Trace, read, write

MAX_POINTS = 80
_PLACES = 4  # of a second


def shrink(trace: Trace, with_watched: bool = False) -> Trace:
    """The trace with at most MAX_POINTS points a series, and times in tenths of milliseconds.

    What was watched is left out unless ``with_watched``, and then has as many sights at most.
    """
    made: Trace = {
        "case": trace["case"],
        "model": trace["model"],
        "seconds": round(trace["seconds"], _PLACES),
        "bytes": trace["bytes"],
        "conditions": trace["conditions"],
        "steps": [round(one, _PLACES) for one in trace["steps"]],
        "timeline": _timeline(trace["timeline"]),
    }
    if with_watched and "watched" in trace:
        made["watched"] = _sights(trace["watched"])
    return made


def kept(at: Sequence[float], always: Iterable[int] = ()) -> list[int]:
    """Which of the points at these times are kept: the ends, both sides of pauses, others evenly.

    ``always`` are more that are kept.
    """
    count = len(at)
    if count <= MAX_POINTS:
        return list(range(count))
    pause_s = 2 * (at[-1] - at[0]) / MAX_POINTS
    gaps = sorted(
        ((right - left, place) for place, (left, right) in enumerate(pairwise(at), 1)), reverse=True
    )
    sides = {0, count - 1, *always}
    for gap_s, place in gaps[: MAX_POINTS // 4]:
        if gap_s > pause_s:
            sides |= {place - 1, place}
    others = [place for place in range(count) if place not in sides]
    room = max(0, MAX_POINTS - len(sides))
    return sorted(sides | {others[number * len(others) // room] for number in range(room)})


def _timeline(timeline: Timeline) -> Timeline:
    return {
        "began": _rounded(timeline["began"]),
        "series": list(map(_series, timeline["series"])),
        "counts": list(map(_counts, timeline["counts"])),
        "stalls": [
            {**stall, "at": round(stall["at"], _PLACES), "seconds": round(stall["seconds"], _PLACES)}
            for stall in timeline["stalls"]
        ],
    }


def _series(series: Series) -> Series:
    places = kept(series["at"])
    return {**series, "at": _at(series["at"], places), "bytes": [series["bytes"][place] for place in places]}


def _counts(counts: Counts) -> Counts:
    places = kept(counts["at"])
    return {**counts, "at": _at(counts["at"], places), "done": [counts["done"][place] for place in places]}


def _at(at: Sequence[float], places: Iterable[int]) -> list[float]:
    return [round(at[place], _PLACES) for place in places]


def _sights(sights: list[Sight]) -> list[Sight]:
    steps = [sight[5] for sight in sights]
    changes = (place for place, (one, other) in enumerate(pairwise(steps), 1) if one != other)
    return [sights[place] for place in kept([sight[0] or 0.0 for sight in sights], changes)]


def _rounded(times: list[float | None]) -> list[float | None]:
    return [None if one is None else round(one, _PLACES) for one in times]


def main() -> None:
    """Read traces, shrink them, write them."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.truth.shrink", description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--watched", action="store_true", help="keep what was watched")
    options = parser.parse_args()
    write(options.target, [shrink(trace, options.watched) for trace in read(options.source)])


if __name__ == "__main__":
    main()
