"""Sizes, times, rates and counts in words."""

from __future__ import annotations

import pytest

from modelhub import units


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "unknown"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (999_600, "1.0 MB"),
        (734_003_200, "734 MB"),
        (4_200_000_000, "4.2 GB"),
        (14_100_000_000, "14.1 GB"),
        (141_000_000_000, "141 GB"),
    ],
)
def test_size(value: float | None, text: str) -> None:
    assert units.size(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "unknown"),
        (0.04, "40 ms"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min 0 s"),
        (75, "1 min 15 s"),
        (7500, "2 h 5 min"),
    ],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert units.duration(seconds) == text


def test_rate() -> None:
    assert units.rate(9.5e8) == "950 MB/s"


def test_text_from_outside_is_made_printable_and_cut() -> None:
    assert units.printable("a\x1b[31m\nb") == "a?[31m?b"
    assert len(units.printable("x" * 1000)) == 120


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "unknown"),
        (-1, "0 ms"),
        (0.0034, "3 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.00 s"),
        (1.234, "1.23 s"),
        (9.996, "10.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (3725, "1 h 2 min"),
    ],
)
def test_fine_durations(seconds: float | None, text: str) -> None:
    assert units.fine_duration(seconds) == text


@pytest.mark.parametrize(
    ("part", "text"),
    [(None, "unknown"), (0, "0%"), (0.001, "1%"), (0.895, "90%"), (0.9999, "99%"), (1, "100%")],
)
def test_a_share_is_0_or_100_percent_only_if_it_is_exactly(part: float | None, text: str) -> None:
    assert units.share(part) == text
