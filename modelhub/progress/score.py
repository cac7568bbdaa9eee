"""How true what a watcher was shown of a load turned out to be, once the load had ended."""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from modelhub.progress.replay import Seen

_MOMENTS = 1000  # at which a load is looked at
_PLACES = (0.25, 0.5, 0.75)
_ROUNDING = 1e-6


class Score(NamedTuple):
    """The figures of one load; shares are those of its whole time, None is "was not shown".

    ``deviation`` is that of progress from elapsed over total. ``left_errors`` are those of the time left at
    25, 50 and 75 %. ``covered`` is the share of the moments with an interval in which the truth lay in it.
    """

    seconds: float
    deviation: float
    worst: float
    left_errors: tuple[float | None, float | None, float | None]
    shown_from: float | None
    backward: int
    early: int  # events at 100 % before the end
    freeze_s: float
    in_last_percent: float
    covered: float | None


def score(shown: Sequence[Seen], seconds: float) -> Score:
    """Score what was shown, in order of time, of a load that took so long."""
    times = [one.at for one in shown]
    moments = [(number + 0.5) * seconds / _MOMENTS for number in range(_MOMENTS)]
    seen = [shown[max(0, bisect_right(times, at) - 1)] for at in moments]
    off = [abs(one.progress - at / seconds) for one, at in zip(seen, moments, strict=True)]
    bounds = [(at, one.low, one.high) for one, at in zip(seen, moments, strict=True)]
    inside = [low <= seconds - at <= high for at, low, high in bounds if low is not None and high is not None]
    first = next((one.at for one in shown if one.left is not None), None)
    errors = [_left_error(shown, times, place * seconds, seconds) for place in _PLACES]
    return Score(
        seconds,
        statistics.fmean(off),
        max(off),
        (errors[0], errors[1], errors[2]),
        None if first is None else first / seconds,
        sum(after.progress < before.progress - _ROUNDING for before, after in pairwise(shown)),
        sum(one.progress >= 1 for one in shown),
        _longest_freeze(shown, seconds),
        sum(one.progress >= 0.99 for one in seen) / _MOMENTS,
        statistics.fmean(inside) if inside else None,
    )


def _left_error(shown: Sequence[Seen], times: Sequence[float], at: float, seconds: float) -> float | None:
    """How wrong the time left was at a moment, over the whole time."""
    one = shown[max(0, bisect_right(times, at) - 1)]
    if one.left is None:
        return None
    return abs(one.left - (at - one.at) - (seconds - at)) / seconds


def _longest_freeze(shown: Sequence[Seen], seconds: float) -> float:
    """The longest time in which the bar stood still, but for stalls."""
    longest, moved_at = 0.0, 0.0
    end = Seen(seconds, 1.0, None, None, None)
    for before, after in pairwise([*shown, end]):
        if before.is_stalled:
            moved_at = after.at
        elif after.progress > before.progress:
            longest, moved_at = max(longest, after.at - moved_at), after.at
    return longest
