"""A rate within a step: from what was expected to what is measured, through pauses and surprises."""

from __future__ import annotations

import pytest

from modelhub.progress.rate import Rate

SIZE = 1_000_000


def counted(rate: Rate, seconds: float, per_s: float, begin_s: float = 0.0, every_s: float = 0.1) -> float:
    """Count at a steady rate; returns the time after it."""
    done = rate.done
    for number in range(1, round(seconds / every_s) + 1):
        rate.take(min(SIZE, round(done + per_s * number * every_s)), SIZE, begin_s + number * every_s)
    return begin_s + seconds


def test_before_anything_is_counted_it_is_what_was_expected() -> None:
    assert Rate(SIZE, 0, 8.0, 0.3, 0.0).left(0.0) == (pytest.approx(8.0), 0.3)


@pytest.mark.parametrize("expected_s", [0.5, 10.0, 200.0])
def test_a_wrong_expectation_is_refuted_soon(expected_s: float) -> None:
    rate = Rate(SIZE, 0, expected_s, 0.1, 0.0)
    now = counted(rate, 2.0, SIZE / 20)
    assert rate.left(now)[0] == pytest.approx(18.0, rel=0.35)
    now = counted(rate, 3.0, SIZE / 20, now)
    assert rate.left(now)[0] == pytest.approx(15.0, rel=0.15)


def test_a_right_expectation_is_not_moved_by_a_first_burst() -> None:
    rate = Rate(SIZE, 0, 10.0, 0.1, 0.0)
    rate.take(SIZE // 20, SIZE, 0.02)
    assert rate.left(0.02)[0] == pytest.approx(9.5, rel=0.15)


def test_a_rate_that_changes_is_followed() -> None:
    rate = Rate(SIZE, 0, 10.0, 0.3, 0.0)
    now = counted(rate, 4.0, SIZE / 10)
    now = counted(rate, 12.0, SIZE / 40, now)
    assert rate.left(now)[0] == pytest.approx(40 * 0.3, rel=0.25)


def test_a_pause_is_no_slower_rate() -> None:
    rate = Rate(SIZE, 0, 10.0, 0.3, 0.0)
    now = counted(rate, 4.0, SIZE / 10)
    before, _ = rate.left(now)
    assert rate.left(now + 12.0)[0] < 1.3 * before, "it does not grow with every second"
    rate.take(rate.done + 1, SIZE, now + 12.0)
    assert rate.left(now + 12.0)[0] < 1.3 * before


def test_a_slow_count_with_long_steps_is_not_taken_for_pauses() -> None:
    rate = Rate(SIZE, 0, 10.0, 0.9, 0.0)
    now = counted(rate, 60.0, SIZE / 200, every_s=3.0)
    assert rate.left(now)[0] == pytest.approx(140, rel=0.2)


def test_it_becomes_more_certain_as_it_is_counted() -> None:
    rate = Rate(SIZE, 0, 10.0, 0.9, 0.0)
    first = rate.left(0.0)[1]
    now = counted(rate, 5.0, SIZE / 10)
    assert rate.left(now)[1] < first / 2


def test_at_its_end_nothing_is_left() -> None:
    rate = Rate(SIZE, 0, 10.0, 0.9, 0.0)
    now = counted(rate, 10.0, SIZE / 10)
    assert rate.left(now)[0] == 0.0
