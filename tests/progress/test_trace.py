"""What is kept of a load: lines for its log, and rates for its sparkline."""

from __future__ import annotations

from typing import Any

from modelhub.progress.log import ModelLog, absent
from modelhub.progress.trace import Trace


def event(**changes: Any) -> dict[str, Any]:
    running = {"load_id": "1", "state": "loading", "step": 5, "elapsed": 1.0, "rate": 1e9}
    return {**absent("a/b", "e"), **running, **changes}


def test_only_what_is_new_is_a_line() -> None:
    trace = Trace("1")
    for done in range(50):
        trace.add(event(done=done, elapsed=done / 10))
    for number in range(20):
        trace.add(event(detail=f"tensor {number} of 20"))
    trace.add(event(detail="part-2"))
    trace.add(event(detail="part-2", stalled_for=10.0))
    trace.add(event(detail="part-2", stalled_for=11.0))
    trace.add(event(detail="part-2"))
    trace.add(event(step=6))
    trace.add(event(state="ready", step=9))
    assert len(trace.lines) == 6


def test_rates_of_a_long_load_stay_few_and_cover_all_of_it() -> None:
    trace = Trace("1")
    for tenth in range(36_000):
        trace.add(event(elapsed=tenth / 10, rate=float(tenth)))
    assert 60 < len(trace.rates) <= 240
    assert trace.rates[0][0] < 30
    assert trace.rates[-1][0] > 3500
    assert [elapsed for elapsed, _ in trace.rates] == sorted(elapsed for elapsed, _ in trace.rates)


def test_a_gap_is_recorded_once() -> None:
    trace = Trace("1")
    for rate in (None, None, 5.0, None, None, 6.0):
        trace.add(event(rate=rate))
    assert [rate for _, rate in trace.rates] == [5.0, None, 6.0]


def test_lines_are_bounded_and_keep_the_beginning_and_the_end() -> None:
    trace = Trace("1")
    for number in range(1000):
        trace.add(event(detail=str(number)))
    assert len(trace.lines) == 200
    assert (trace.lines[0]["detail"], trace.lines[-1]["detail"]) == ("0", "999")


def test_the_next_load_begins_a_new_trace() -> None:
    log = ModelLog(absent("a/b", "e"))
    log.append("model_load_progress", event(seq=1))
    log.append("model_load_progress", event(seq=2, load_id="2", step=1, rate=None))
    assert log.trace.load_id == "2"
    assert [line["step"] for line in log.trace.lines] == [1]
    assert log.trace.rates == []
