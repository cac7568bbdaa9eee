"""Segments and sparklines as numbers."""

from __future__ import annotations

from itertools import pairwise

import pytest

from modelhub.web.pages.progress_chart import segments, sparkline

SHARES = [0.05, 0.3, 0.005, 0.05, 0.4, 0.02, 0.05, 0.025, 0.1]


def test_segments_stand_side_by_side_and_fill_the_bar() -> None:
    found = segments(SHARES)
    assert [part.step for part in found] == list(range(1, 10))
    for left, right in pairwise(found):
        assert left.x + left.width == pytest.approx(right.x, abs=0.02)
    assert found[-1].x + found[-1].width == pytest.approx(100, abs=0.02)


def test_a_thin_segment_has_no_gap_and_a_narrow_one_no_number() -> None:
    found = segments(SHARES)
    assert [part.gap for part in found] == [0, 2, 0, 2, 2, 2, 2, 2, 2]
    assert [part.number for part in found] == ["1", "2", "", "4", "5", "", "7", "", "9"]


def test_a_sparkline_goes_from_zero_to_the_highest_with_its_gaps() -> None:
    assert sparkline([(0, 100.0), (1, 200.0), (2, None), (4, 0.0)]) == "M0.0 12.0L25.0 1.0M100.0 23.0"


@pytest.mark.parametrize("rates", [[], [(0.5, None)]])
def test_nothing_is_drawn_of_nothing(rates: list[tuple[float, float | None]]) -> None:
    assert sparkline(rates) == ""


def test_one_point_and_no_speed_are_drawn_too() -> None:
    assert sparkline([(3.0, 0.0)]) == "M0.0 23.0"
