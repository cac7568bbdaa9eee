"""The drawing of a load: bars by start and duration, bytes over time, as numbers that SVG takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from modelhub import units
from modelhub.checkpoints import STEPS, TOTAL_STEPS
from modelhub.core.statistics import outcome_of
from modelhub.web.pages import load_wording

WIDTH, HEIGHT = 1000, 100  # of the view box that the lines are in
_MOST_MARKS = 5
_MOST_LEVELS = 3
_LEAST_SEEN = 0.005  # of the height: a line below it would lie on the axis
_NICE_TIMES = (2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 18000, 36000, 86400)
_LAST_IS = {"completed": "done", "failed": "failed", "running": "running"}


class Span(NamedTuple):
    """A stretch of time, in percent of the whole width."""

    x: float
    width: float


class Mark(NamedTuple):
    """A mark on an axis: where, in percent, and what it says."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One of the nine steps. ``span`` is None for a step that never began."""

    step: int
    message: str
    status: str  # done, failed, stopped, running or waiting, as on the page of a model
    span: Span | None
    began: str
    took: str
    stalls: list[Span]


@dataclass(frozen=True, slots=True)
class Line:
    """Bytes over time in one step: a polyline, the polygon below it, and the same in words."""

    points: str
    area: str
    said: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """A load as it went, from its begin to its end or to now."""

    bars: list[Bar]
    marks: list[Mark]
    lines: list[Line]
    is_plotted: bool  # whether any bytes were counted more than once
    levels: list[Mark]
    stalls: list[Span]
    said_stalls: list[str]
    is_derived: bool  # an older journal kept the steps' durations only


def last_step(load: dict[str, Any], timeline: dict[str, Any] | None) -> int | None:
    """The last step that began, as far as that is known."""
    began = [step for step, at in enumerate(_begins(load, timeline), start=1) if at is not None]
    return max(began, default=None)


def draw(load: dict[str, Any], timeline: dict[str, Any] | None) -> Drawing | None:
    """The drawing of a load resource; None where nothing is known of when its steps were."""
    begins, steps = _begins(load, timeline), _steps(load)
    total = _total(load, begins, steps)
    if total <= 0 or not any(at is not None for at in begins):
        return None
    kept = timeline or {"series": [], "stalls": []}
    most = max((one["bytes"][-1] for one in kept["series"]), default=0)
    series = [one for one in kept["series"] if one["bytes"][-1] > most * _LEAST_SEEN]
    bars = _bars(load, begins, steps, kept["stalls"], total)
    return Drawing(
        bars=bars,
        marks=_marks(total),
        lines=[_line(one, total, most, bars[one["step"] - 1].span) for one in series],
        is_plotted=any(len(one["at"]) > 1 for one in series),
        levels=_levels(most),
        stalls=[_span(stall["at"], stall["seconds"], total) for stall in kept["stalls"]],
        said_stalls=[load_wording.stall(stall) for stall in kept["stalls"]],
        is_derived=timeline is None,
    )


def _steps(load: dict[str, Any]) -> Sequence[float | None]:
    snapshot = load["snapshot"]
    return load["steps"] or (snapshot or {}).get("steps") or [None] * TOTAL_STEPS


def _begins(load: dict[str, Any], timeline: dict[str, Any] | None) -> Sequence[float | None]:
    """When each step began; one after the other where only their durations are known."""
    if timeline is not None:
        began: Sequence[float | None] = timeline["began"]
        return began
    begins: list[float | None] = []
    at = 0.0
    for seconds in _steps(load):
        begins.append(None if seconds is None else at)
        at += seconds or 0.0
    return begins


def _total(load: dict[str, Any], begins: Sequence[float | None], steps: Sequence[float | None]) -> float:
    so_far = load["seconds"] if load["seconds"] is not None else (load["snapshot"] or {}).get("elapsed")
    ends = [at + (seconds or 0.0) for at, seconds in zip(begins, steps, strict=True) if at is not None]
    return max([so_far or 0.0, *ends])


def _bars(
    load: dict[str, Any],
    begins: Sequence[float | None],
    steps: Sequence[float | None],
    stalls: list[dict[str, Any]],
    total: float,
) -> list[Bar]:
    last = max(step for step, at in enumerate(begins, start=1) if at is not None)
    last_status = _LAST_IS.get(outcome_of(load["state"]), "stopped")
    bars = []
    for row, at, took in zip(STEPS, begins, steps, strict=True):
        status = "waiting" if at is None else last_status if row.step == last else "done"
        seconds = took if took is not None else None if at is None else total - at
        own = [_span(stall["at"], stall["seconds"], total) for stall in stalls if stall["step"] == row.step]
        bars.append(
            Bar(
                row.step,
                row.message,
                status,
                None if at is None else _span(at, seconds or 0.0, total),
                "–" if at is None else units.fine_duration(at),
                "–" if seconds is None else units.fine_duration(seconds),
                own,
            )
        )
    return bars


def _span(at: float, seconds: float, total: float) -> Span:
    begin = min(max(at / total, 0.0), 1.0)
    return Span(_percent(begin), _percent(min(seconds / total, 1 - begin)))


def _marks(total: float) -> list[Mark]:
    """Marks at round times, the first at 0."""
    apart = max(0.001, _round_up(total / _MOST_MARKS))
    if apart > 1:
        days = 86400.0 * math.ceil(total / _MOST_MARKS / 86400)
        apart = next((float(nice) for nice in _NICE_TIMES if total / nice <= _MOST_MARKS), days)
    return [Mark(_percent(n * apart / total), units.tick(n * apart, apart)) for n in _counts(total, apart)]


def _levels(most: int) -> list[Mark]:
    """Marks at round sizes above 0, from the bottom up."""
    if not most:
        return []
    apart = _round_up(most / _MOST_LEVELS)
    return [Mark(_percent(1 - n * apart / most), units.size(n * apart)) for n in _counts(most, apart) if n]


def _counts(whole: float, apart: float) -> range:
    return range(int(whole / apart + 1e-9) + 1)


def _round_up(value: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * nice for nice in (1, 2, 5, 10) if power * nice >= value * (1 - 1e-9))


def _percent(share: float) -> float:
    return round(100 * share, 3)


def _line(series: dict[str, Any], total: float, most: int, step: Span | None) -> Line:
    """The count of a step; what it came to holds until the step ends."""
    places = [
        (round(WIDTH * min(at / total, 1.0), 1), round(HEIGHT * (1 - done / most), 2))
        for at, done in zip(series["at"], series["bytes"], strict=True)
    ]
    end = WIDTH * (step.x + step.width) / 100 if step is not None else 0.0
    places.append((max(places[-1][0], round(end, 1)), places[-1][1]))
    points = " ".join(f"{x:g},{y:g}" for x, y in places)
    area = f"{places[0][0]:g},{HEIGHT} {points} {places[-1][0]:g},{HEIGHT}"
    return Line(points, area, load_wording.counted(series))
