"""Scores of what a watcher was shown, on bars whose faults are known."""

from __future__ import annotations

import pytest

from modelhub.progress.replay import Seen
from modelhub.progress.score import score

TOTAL = 10.0


def seen(at: float, progress: float, left: float | None = None, part: float = 0.2) -> Seen:
    """An event; its interval is so wide a part of the time left to both sides."""
    if left is None:
        return Seen(at, progress, None, None, None)
    return Seen(at, progress, left, left * (1 - part), left * (1 + part))


def true_bar(every_s: float = 0.01) -> list[Seen]:
    times = [number * every_s for number in range(round(TOTAL / every_s))]
    return [seen(at, at / TOTAL, TOTAL - at) for at in times]


def test_a_true_bar_has_no_fault() -> None:
    found = score(true_bar(), TOTAL)
    assert found.deviation == pytest.approx(0, abs=0.002)
    assert found.worst == pytest.approx(0, abs=0.002)
    assert found.left_errors == pytest.approx((0, 0, 0), abs=0.001)
    assert (found.shown_from, found.backward, found.early) == (0, 0, 0)
    assert found.freeze_s == pytest.approx(0.01, abs=0.001)
    assert found.in_last_percent == pytest.approx(0.01, abs=0.003)
    assert found.covered == pytest.approx(1, abs=0.01)


def test_nine_equal_steps_that_last_as_long_as_each_other_lag_behind_by_half_a_step() -> None:
    found = score([seen(step * TOTAL / 9, step / 9) for step in range(9)], TOTAL)
    assert found.deviation == pytest.approx(1 / 18, abs=0.002)
    assert found.worst == pytest.approx(1 / 9, abs=0.002)
    assert found.freeze_s == pytest.approx(TOTAL / 9)
    assert found.shown_from is None
    assert found.left_errors == (None, None, None)
    assert found.covered is None


def test_a_bar_that_is_done_too_early_or_goes_back_is_found_out() -> None:
    found = score([seen(0, 0), seen(2, 1.0), seen(3, 0.5), seen(6, 0.995)], TOTAL)
    assert (found.backward, found.early) == (1, 1)
    assert found.in_last_percent == pytest.approx(0.5, abs=0.01)
    assert found.worst == pytest.approx(0.8, abs=0.01)


def test_a_time_left_is_that_of_its_moment() -> None:
    events = [seen(0, 0, 12.0), seen(2.4, 0.24, 7.6), seen(7.5, 0.75, 5.0)]
    first, half, late = score(events, TOTAL).left_errors
    assert (first, half, late) == pytest.approx((0, 0, 0.25), abs=0.001)


def test_the_interval_covers_the_share_of_time_in_which_the_truth_lies_in_it() -> None:
    right_then_wrong = [one if one.at < 7 else one._replace(low=0.0, high=0.001) for one in true_bar()]
    assert score(right_then_wrong, TOTAL).covered == pytest.approx(0.7, abs=0.01)


def test_a_stall_is_no_freeze() -> None:
    events = [seen(0, 0.1), seen(1, 0.2), Seen(2, 0.2, None, None, None, True), seen(8, 0.5), seen(9, 0.6)]
    assert score(events, TOTAL).freeze_s == 1.0
