"""The chart of a load: bars by start and duration, bytes over time, as numbers that SVG takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from modelhub import units
from modelhub.checkpoints import STEPS, TOTAL_STEPS
from modelhub.payloads import LoadResource, Series, Stall, Timeline
from modelhub.states import OUTCOME_OF_STATE, Outcome, StepStatus
from modelhub.web.pages import load_wording
from modelhub.wording import UNKNOWN

WIDTH, HEIGHT = 1000, 100  # of the view box of the lines
_MAX_MARKS = 5
_MAX_LEVELS = 3
_LONGER = 2.0  # than the load: as far as the time that was expected is drawn
_MIN_HEIGHT = 0.005  # of the chart: a lower line would lie on the axis
_ROUND_TIMES = (2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 18000, 36000, 86400)
_STATUS_OF_LAST_STEP = {
    Outcome.COMPLETED: StepStatus.DONE,
    Outcome.FAILED: StepStatus.FAILED,
    Outcome.RUNNING: StepStatus.RUNNING,
}


class Span(NamedTuple):
    """A stretch of time, in percent of the whole width."""

    x: float
    width: float


class Mark(NamedTuple):
    """A mark on an axis: where, in percent, and its label."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One of the nine steps. ``span`` is None for a step that never began.

    ``expected_span`` begins with it, and is as long as was expected of the step before the load.
    """

    step: int
    message: str
    status: StepStatus
    span: Span | None
    began: str
    took: str
    stalls: list[Span]
    expected: str
    expected_span: Span | None


@dataclass(frozen=True, slots=True)
class Line:
    """Bytes over time in one step: a polyline, the polygon below it, and the same in words."""

    points: str
    area: str
    words: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A load from its start to its end, or to now; longer where it was expected to take longer."""

    bars: list[Bar]
    marks: list[Mark]
    lines: list[Line]
    is_plotted: bool  # whether any bytes were counted more than once
    levels: list[Mark]
    stalls: list[Span]
    stall_words: list[str]
    has_forecast: bool
    is_derived: bool  # from the steps' durations, which is all that an older journal kept


def last_step(load: LoadResource, timeline: Timeline | None) -> int | None:
    """The last step that began; None where that is not known."""
    began = [step for step, at in enumerate(_begins(load, timeline), start=1) if at is not None]
    return max(began, default=None)


class _Times(NamedTuple):
    """When each step began, how long it took and was expected to take; None is not known. All in seconds."""

    begins: Sequence[float | None]
    steps: Sequence[float | None]
    expected: Sequence[float | None]
    end: float  # of the load, or now
    total: float  # of the chart


def draw(load: LoadResource, timeline: Timeline | None) -> Chart | None:
    """The chart of a load; None where it is not known when its steps ran."""
    times = _times(load, timeline)
    if times.end <= 0 or not any(at is not None for at in times.begins):
        return None
    total = times.total
    all_series = timeline["series"] if timeline else []
    stalls = timeline["stalls"] if timeline else []
    highest = max((one["bytes"][-1] for one in all_series), default=0)
    series = [one for one in all_series if one["bytes"][-1] > highest * _MIN_HEIGHT]
    bars = _bars(load, times, stalls)
    return Chart(
        bars=bars,
        marks=_marks(total),
        lines=[_line(one, total, highest, bars[one["step"] - 1].span) for one in series],
        is_plotted=any(len(one["at"]) > 1 for one in series),
        levels=_levels(highest),
        stalls=[_span(stall["at"], stall["seconds"], total) for stall in stalls],
        stall_words=[load_wording.stalled(stall) for stall in stalls],
        has_forecast=load["forecast"] is not None,
        is_derived=timeline is None,
    )


def _times(load: LoadResource, timeline: Timeline | None) -> _Times:
    begins, steps = _begins(load, timeline), _steps(load)
    expected = load["forecast"]["steps"] if load["forecast"] else [None] * TOTAL_STEPS
    end = _end(load, begins, steps)
    ends = [at + (seconds or 0.0) for at, seconds in zip(begins, expected, strict=True) if at is not None]
    return _Times(begins, steps, expected, end, min(max([end, *ends]), _LONGER * end))


def _steps(load: LoadResource) -> Sequence[float | None]:
    snapshot = load["snapshot"]
    return load["steps"] or (snapshot["steps"] if snapshot else [None] * TOTAL_STEPS)


def _begins(load: LoadResource, timeline: Timeline | None) -> Sequence[float | None]:
    """When each step began; one after the other where only their durations are known."""
    if timeline is not None:
        return timeline["began"]
    begins: list[float | None] = []
    at = 0.0
    for seconds in _steps(load):
        begins.append(None if seconds is None else at)
        at += seconds or 0.0
    return begins


def _end(load: LoadResource, begins: Sequence[float | None], steps: Sequence[float | None]) -> float:
    snapshot = load["snapshot"]
    so_far = load["seconds"] if load["seconds"] is not None else snapshot and snapshot["elapsed"]
    ends = [at + (seconds or 0.0) for at, seconds in zip(begins, steps, strict=True) if at is not None]
    return max([so_far or 0.0, *ends])


def _bars(load: LoadResource, times: _Times, stalls: list[Stall]) -> list[Bar]:
    last = max(step for step, at in enumerate(times.begins, start=1) if at is not None)
    last_status = _STATUS_OF_LAST_STEP.get(OUTCOME_OF_STATE[load["state"]], StepStatus.STOPPED)
    later = StepStatus.WAITING if last_status == StepStatus.RUNNING else StepStatus.UNREACHED
    bars = []
    for row, at, took, expected in zip(STEPS, times.begins, times.steps, times.expected, strict=True):
        status = last_status if row.step == last else StepStatus.DONE
        if at is None:
            status = later
        seconds = took if took is not None else None if at is None else times.end - at
        own = [stall for stall in stalls if stall["step"] == row.step]
        bars.append(
            Bar(
                row.step,
                row.message,
                status,
                None if at is None else _span(at, seconds or 0.0, times.total),
                UNKNOWN if at is None else units.fine_duration(at),
                UNKNOWN if seconds is None else units.fine_duration(seconds),
                [_span(stall["at"], stall["seconds"], times.total) for stall in own],
                UNKNOWN if expected is None else units.fine_duration(expected),
                None if at is None or expected is None else _span(at, expected, times.total),
            )
        )
    return bars


def _span(at: float, seconds: float, total: float) -> Span:
    begin = min(max(at / total, 0.0), 1.0)
    return Span(_percent(begin), _percent(min(seconds / total, 1 - begin)))


def _marks(total: float) -> list[Mark]:
    """Marks at round times, the first at 0."""
    apart = max(0.001, _round_up(total / _MAX_MARKS))
    if apart > 1:
        days = 86400.0 * math.ceil(total / _MAX_MARKS / 86400)
        apart = next((float(nice) for nice in _ROUND_TIMES if total / nice <= _MAX_MARKS), days)
    return [Mark(_percent(n * apart / total), units.tick(n * apart, apart)) for n in _counts(total, apart)]


def _levels(highest: int) -> list[Mark]:
    """Marks at round sizes above 0, from the bottom up."""
    if not highest:
        return []
    apart = _round_up(highest / _MAX_LEVELS)
    return [
        Mark(_percent(1 - n * apart / highest), units.size(n * apart)) for n in _counts(highest, apart) if n
    ]


def _counts(whole: float, apart: float) -> range:
    return range(int(whole / apart + 1e-9) + 1)


def _round_up(value: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * nice for nice in (1, 2, 5, 10) if power * nice >= value * (1 - 1e-9))


def _percent(share: float) -> float:
    return round(100 * share, 3)


def _line(series: Series, total: float, highest: int, step: Span | None) -> Line:
    """The count of a step; its last value holds until the step ends."""
    places = [
        (round(WIDTH * min(at / total, 1.0), 1), round(HEIGHT * (1 - done / highest), 2))
        for at, done in zip(series["at"], series["bytes"], strict=True)
    ]
    end = WIDTH * (step.x + step.width) / 100 if step is not None else 0.0
    places.append((max(places[-1][0], round(end, 1)), places[-1][1]))
    points = " ".join(f"{x:g},{y:g}" for x, y in places)
    area = f"{places[0][0]:g},{HEIGHT} {points} {places[-1][0]:g},{HEIGHT}"
    return Line(points, area, load_wording.counted(series))
