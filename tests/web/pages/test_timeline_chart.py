"""The timeline chart of a load: positions of bars and lines, marks at round numbers."""

from __future__ import annotations

from typing import Any

import pytest

from modelhub.web.pages import timeline_chart
from modelhub.web.pages.timeline_chart import HEIGHT, WIDTH, Chart, Span, draw, last_step

STEPS = [0.5, 0.5, 4.0, 1.0, 2.0, 0.5, 0.5, 0.5, 0.5]
BEGAN = [0.0, 0.5, 1.0, 5.0, 6.0, 8.0, 8.5, 9.0, 9.5]


def load(state: str = "ready", **changes: Any) -> dict[str, Any]:
    return {"state": state, "seconds": 10.0, "steps": STEPS, "snapshot": None, "forecast": None, **changes}


def timeline(**changes: Any) -> dict[str, Any]:
    return {"began": BEGAN, "series": [], "counts": [], "stalls": [], **changes}


def drawn(load: dict[str, Any], timeline: dict[str, Any] | None) -> Chart:
    drawing = draw(load, timeline)
    assert drawing is not None
    return drawing


def test_bars_begin_and_end_where_the_steps_did() -> None:
    bars = drawn(load(), timeline()).bars
    assert [bar.span for bar in bars][:5] == [
        Span(0.0, 5.0),
        Span(5.0, 5.0),
        Span(10.0, 40.0),
        Span(50.0, 10.0),
        Span(60.0, 20.0),
    ]
    assert {bar.status for bar in bars} == {"done"}
    assert (bars[2].began, bars[2].took, bars[0].took) == ("1.00 s", "4.00 s", "500 ms")


@pytest.mark.parametrize(
    ("state", "status"), [("failed", "failed"), ("cancelled", "stopped"), ("interrupted", "stopped")]
)
def test_a_load_that_ended_early_shows_where(state: str, status: str) -> None:
    began = [*BEGAN[:5], *[None] * 4]
    one = load(state, steps=[*STEPS[:4], 1.0, *[None] * 4], seconds=7.0)
    bars = drawn(one, timeline(began=began)).bars
    assert [bar.status for bar in bars] == ["done"] * 4 + [status] + ["not reached"] * 4
    assert bars[5].span is None
    assert (bars[5].began, bars[5].took) == ("–", "–")
    assert bars[4].span is not None
    assert bars[4].span.x + bars[4].span.width == pytest.approx(100, abs=0.01)
    assert last_step(one, timeline(began=began)) == 5


def test_the_running_step_reaches_up_to_now() -> None:
    running = load(
        "loading",
        seconds=None,
        steps=None,
        snapshot={"elapsed": 4.0, "steps": [0.5, 0.5, *[None] * 7]},
    )
    bars = drawn(running, timeline(began=[*BEGAN[:3], *[None] * 6])).bars
    assert bars[2].span == Span(25.0, 75.0)
    assert (bars[2].status, bars[2].took) == ("running", "3.00 s")


def test_of_an_older_journal_the_durations_are_drawn_one_after_the_other() -> None:
    drawing = drawn(load(), None)
    assert drawing.is_derived
    assert [bar.span for bar in drawing.bars] == [bar.span for bar in drawn(load(), timeline()).bars]


def test_nothing_is_drawn_of_what_is_not_known() -> None:
    assert draw(load("interrupted", seconds=None, steps=None), None) is None
    assert draw(load("cancelled", seconds=None, steps=[None] * 9), None) is None
    assert draw(load("cancelled", seconds=1.0), timeline(began=[None] * 9)) is None
    assert last_step(load("interrupted", steps=None), None) is None


def test_each_step_is_compared_with_what_was_expected_of_it() -> None:
    forecast = {"seconds": 9.0, "steps": [0.25, 1.0, 2.0, 1.0, 2.0, 0.5, 0.5, 0.5, 1.25]}
    drawing = drawn(load(forecast=forecast), timeline())
    assert drawing.has_forecast
    whole = 10.75  # the last step was expected to end later than the load did
    for bar, at, expected in zip(drawing.bars, BEGAN, forecast["steps"], strict=True):
        assert bar.expected_span == Span(round(100 * at / whole, 3), round(100 * expected / whole, 3))
        assert bar.span is not None
        assert bar.span.x == bar.expected_span.x
    assert [bar.expected for bar in drawing.bars][:3] == ["250 ms", "1.00 s", "2.00 s"]
    assert (drawing.bars[-1].took, drawing.bars[-1].expected) == ("500 ms", "1.25 s")


def test_what_was_expected_leaves_half_of_the_chart_to_the_load() -> None:
    one = load("failed", steps=[0.5, *[None] * 8], seconds=1.0, forecast={"steps": [60.0] * 9})
    bars = drawn(one, timeline(began=[0.0, 0.5, *[None] * 7])).bars
    assert (bars[1].span, bars[1].expected_span) == (Span(25.0, 25.0), Span(25.0, 75.0))
    assert (bars[1].took, bars[1].expected) == ("500 ms", "1 min 0 s")
    assert (bars[2].expected, bars[2].expected_span) == ("1 min 0 s", None)


def test_a_load_of_an_older_journal_has_nothing_that_was_expected() -> None:
    drawing = drawn(load(), timeline())
    assert not drawing.has_forecast
    assert {(bar.expected, bar.expected_span) for bar in drawing.bars} == {("–", None)}


def test_bytes_are_drawn_to_scale_and_hold_until_their_step_ends() -> None:
    series = [
        {"step": 3, "size": 100, "at": [2.0, 4.0], "bytes": [0, 50]},
        {"step": 5, "size": 100, "at": [6.0], "bytes": [100]},
    ]
    lines = drawn(load(), timeline(series=series)).lines
    assert lines[0].points == "200,100 400,50 500,50"
    assert lines[0].area == f"200,{HEIGHT} 200,100 400,50 500,50 500,{HEIGHT}"
    assert lines[1].points == "600,0 800,0"
    assert WIDTH == 1000
    assert lines[0].words.startswith(
        "Step 3, Checking model cache: 0 B to 50 B, from 2.00 s to 4.00 s; 25 B/s"
    )


def test_bytes_counted_at_once_are_described_and_not_plotted() -> None:
    at_once = {"step": 5, "size": 100, "at": [0.5], "bytes": [100]}
    drawing = drawn(load(), timeline(series=[at_once]))
    assert (len(drawing.lines), drawing.is_plotted) == (1, False)


def test_an_invisible_line_is_left_out() -> None:
    series = [
        {"step": 2, "size": 6, "at": [0.5, 0.6], "bytes": [0, 6]},
        {"step": 5, "size": 10_000, "at": [6.0], "bytes": [10_000]},
    ]
    assert [line.words[:6] for line in drawn(load(), timeline(series=series)).lines] == ["Step 5"]
    nothing = [{"step": 3, "size": None, "at": [2.0], "bytes": [0]}]
    assert drawn(load(), timeline(series=nothing)).lines == []


def test_stalls_are_marked_in_their_step_and_described() -> None:
    stalls = [{"step": 3, "at": 2.0, "seconds": 2.5}]
    drawing = drawn(load(), timeline(stalls=stalls))
    assert drawing.bars[2].stalls == drawing.stalls == [Span(20.0, 25.0)]
    assert all(not bar.stalls for bar in drawing.bars if bar.step != 3)
    assert drawing.stall_words == ["Stalled for 2.50 s from 2.00 s on, in step 3 (Checking model cache)."]


@pytest.mark.parametrize(
    ("seconds", "labels"),
    [
        (0.0037, ["0", "1 ms", "2 ms", "3 ms"]),
        (0.6, ["0", "0.2 s", "0.4 s", "0.6 s"]),
        (1.0, ["0", "0.2 s", "0.4 s", "0.6 s", "0.8 s", "1.0 s"]),
        (4.9, ["0", "1 s", "2 s", "3 s", "4 s"]),
        (44.0, ["0", "10 s", "20 s", "30 s", "40 s"]),
        (95.0, ["0", "20 s", "40 s", "60 s", "80 s"]),
        (250.0, ["0", "1 min", "2 min", "3 min", "4 min"]),
        (7300.0, ["0", "30 min", "60 min", "90 min", "120 min"]),
        (86400.0 * 20, ["0", "96 h", "192 h", "288 h", "384 h", "480 h"]),
    ],
)
def test_marks_of_time_are_round(seconds: float, labels: list[str]) -> None:
    marks = timeline_chart._marks(seconds)
    assert [mark.label for mark in marks] == labels
    assert marks[0].at == 0
    assert marks[-1].at <= 100


@pytest.mark.parametrize(
    "seconds", [10.0**power * first for power in range(-3, 8) for first in (1, 1.7, 3, 7, 9.99)]
)
def test_there_are_two_to_six_marks_whatever_the_time(seconds: float) -> None:
    marks = timeline_chart._marks(seconds)
    assert 2 <= len(marks) <= 6
    assert len({mark.label for mark in marks}) == len(marks)


@pytest.mark.parametrize(
    ("most", "labels"),
    [
        (0, []),
        (256_000_000, ["100 MB", "200 MB"]),
        (2_060_000_000, ["1.0 GB", "2.0 GB"]),
        (3_000_000_000, ["1.0 GB", "2.0 GB", "3.0 GB"]),
        (7, ["5 B"]),
    ],
)
def test_marks_of_size_are_round(most: int, labels: list[str]) -> None:
    assert [level.label for level in timeline_chart._levels(most)] == labels
