"""Recorded loads: how one is written down, and how it is replayed through the tracker as it was then."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypedDict

from modelhub.checkpoints import TOTAL_STEPS, Checkpoint, checkpoint
from modelhub.payloads import Conditions, ProgressState, Timeline
from modelhub.progress.history import Past
from modelhub.progress.pace import Expect
from modelhub.progress.tracker import Tracker

TICK_S = 0.1  # how often a tracker hears that nothing has come; more often at first
_FIRST_TICK_S, _GROWTH = 0.02, 0.2


class Recording(TypedDict):
    """A load that has completed, as it was recorded; times are seconds since it began.

    ``case`` is what kind of load it was, where that is known.
    """

    case: str
    model: str
    seconds: float
    bytes: int | None  # of the weights
    conditions: Conditions
    steps: list[float]
    timeline: Timeline


class Seen(NamedTuple):
    """What a watcher was shown at a moment; ``left``, ``low`` and ``high`` are None while it was not."""

    at: float
    progress: float
    left: float | None
    low: float | None
    high: float | None
    is_stalled: bool = False


def past_of(recording: Recording) -> Past:
    """What a history learns from it."""
    known = (recording["model"], recording["conditions"], recording["steps"], recording["bytes"])
    return Past.of(*known, recording["timeline"])


def checkpoints_of(timeline: Timeline) -> Iterator[tuple[float, Checkpoint]]:
    """The checkpoints of a load in their order, each with its time."""
    found: list[tuple[float, int, int, Checkpoint]] = []
    for step, at in enumerate(timeline["began"], 1):
        if at is not None:
            found.append((at, step, 0, checkpoint(step)))
    for series in timeline["series"]:
        for at, done in zip(series["at"], series["bytes"], strict=True):
            news = checkpoint(series["step"], done, series["size"], "bytes")
            found.append((at, series["step"], 1, news))
    for counts in timeline["counts"]:
        for at, done in zip(counts["at"], counts["done"], strict=True):
            news = checkpoint(counts["step"], done, counts["size"], counts["unit"])
            found.append((at, counts["step"], 1, news))
    found.sort(key=lambda one: (one[1], one[0], one[2]))
    for at, *_, news in found:
        yield at, news


def replay(recording: Recording, expect: Expect, stall_s: float = 10.0) -> list[Seen]:
    """What a watcher of the load would have been shown, with what ``expect`` expects of it."""
    tracker = Tracker(0.0, recording["conditions"], expect, stall_s)
    shown = [_seen(tracker.state(0.0), 0.0)]
    now = 0.0
    for at, news in checkpoints_of(recording["timeline"]):
        at = max(at, now)
        while (tick := _next_tick(now)) < at:
            now = tick
            shown += [_seen(state, now) for state in tracker.tick(now)]
        now = at
        shown += [_seen(state, now) for state in tracker.feed(news, now)]
    while (tick := _next_tick(now)) < recording["seconds"]:
        now = tick
        shown += [_seen(state, now) for state in tracker.tick(now)]
    return shown


def _next_tick(now: float) -> float:
    return now + min(TICK_S, max(_FIRST_TICK_S, _GROWTH * now))


def is_complete(recording: Recording) -> bool:
    """Whether all nine steps were recorded."""
    return len(recording["steps"]) == TOTAL_STEPS and None not in recording["timeline"]["began"]


def _seen(state: ProgressState, now: float) -> Seen:
    progress = state["progress"] or 0.0
    left = state["eta"], state["eta_low"], state["eta_high"]
    return Seen(now, progress, *left, state["stalled_for"] is not None)
