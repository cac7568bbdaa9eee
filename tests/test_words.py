from __future__ import annotations

import pytest

from modelhub import words


@pytest.mark.parametrize(
    ("value", "said"),
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
def test_size(value: float | None, said: str) -> None:
    assert words.size(value) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "unknown"),
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min 0 s"),
        (75, "1 min 15 s"),
        (7500, "2 h 5 min"),
    ],
)
def test_duration(seconds: float | None, said: str) -> None:
    assert words.duration(seconds) == said


def test_rate() -> None:
    assert words.rate(9.5e8) == "950 MB/s"


def test_what_came_from_outside_is_made_printable_and_cut() -> None:
    assert words.printable("a\x1b[31m\nb") == "a?[31m?b"
    assert len(words.printable("x" * 1000)) == 120
