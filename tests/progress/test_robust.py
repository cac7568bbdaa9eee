"""Estimates from noisy measurements: right without noise, and hardly moved by an outlier."""

from __future__ import annotations

import random

import pytest

from modelhub.progress.robust import Line, Point, fit_line, log_spread, weighted_median

FLAT = Line(0.01, 1e-9, 0.8)


def test_the_median_is_that_of_most_weight() -> None:
    assert weighted_median([3.0]) == 3.0
    assert weighted_median([1.0, 1.0, 50.0]) == 1.0
    # Newer ones weigh more: two old ones do not outweigh three new ones of another value.
    assert weighted_median([2.0, 2.0, 2.0, 9.0, 9.0]) == 2.0
    assert weighted_median([9.0, 9.0, 2.0, 2.0]) == 9.0


def test_the_spread_is_none_of_one_and_not_that_of_an_outlier() -> None:
    assert log_spread([2.0]) == 0.0
    assert log_spread([2.0, 2.0, 2.0, 200.0, 2.0]) == 0.0
    noise = random.Random(5)
    assert log_spread([noise.lognormvariate(0, 0.3) for _ in range(12)]) == pytest.approx(0.3, abs=0.2)


def test_a_line_is_found_through_noise_and_outliers() -> None:
    noise = random.Random(3)
    points = [
        Point(x, (0.2 + 2e-9 * x) * noise.lognormvariate(0, 0.05)) for x in range(10**8, 2 * 10**9, 10**8)
    ]
    points[4] = Point(points[4].x, 20 * points[4].y)
    points[7] = Point(points[7].x, points[7].y / 20)
    line = fit_line(points, FLAT)
    for x in (10**8, 10**9, 2 * 10**9):
        assert line.at(x) == pytest.approx(0.2 + 2e-9 * x, rel=0.15)
    assert line.spread < 0.5, "two outliers in twelve"


def test_one_measurement_moves_the_line_of_the_reference_to_it() -> None:
    line = fit_line([Point(10**9, 4.0)], FLAT)
    assert line.at(10**9) == pytest.approx(4.0, rel=0.1)
    assert line.at(2 * 10**9) > 1.3 * line.at(10**9)


def test_a_line_neither_falls_nor_lies_below_zero() -> None:
    falling = fit_line([Point(1e6, 5.0), Point(1e9, 1.0)], FLAT)
    assert falling.slope >= 0
    steep = fit_line([Point(1e9, 1.0), Point(2e9, 9.0)], Line(0.0, 1e-9, 0.8))
    assert steep.fixed >= 0
