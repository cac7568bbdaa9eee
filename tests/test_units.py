"""Sizes, times, rates and counts in words."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from modelhub import units
from modelhub.progress.pace import Expect
from modelhub.progress.replay import Recording, replay
from tests.support.expecting import expecting


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


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.4, "0.4 s"), (5, "5 s"), (90, "1 min 30 s"), (300, "5 min"), (7200, "2 h")],
)
def test_a_duration_that_somebody_chose(seconds: float, text: str) -> None:
    assert units.round_duration(seconds) == text


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


@pytest.mark.parametrize(
    ("left", "text"),
    [
        ((None,), "time left not known yet"),
        ((0.4,), "less than 1 s left"),
        ((0.4, 0.3, 0.5), "less than 1 s left"),
        ((1.2,), "about 1 s left"),
        ((9.2,), "about 10 s left"),
        ((9.2, 8.0, 10.6), "about 10 s left"),
        ((14.0, 9.6, 20.4), "10 to 20 s left"),
        ((1.5, 0.4, 3.2), "up to 3 s left"),
        ((80.0, 50.0, 130.0), "45 s to 2 min left"),
        ((1.6, 0.9, 2.2), "about 2 s left"),
        ((80.0,), "about 1.5 min left"),
        ((4500.0,), "about 1 h left"),
        ((360_000.0,), "about 100 h left"),
    ],
)
def test_time_left_is_round_and_an_interval_where_it_is_uncertain(left: Any, text: str) -> None:
    assert units.time_left(*left) == text


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ((12.3, 10.0, 14.0), "about 12 s"),
        ((0.21, 0.2, 0.22), "about 0.2 s"),
        ((0.5, 0.31, 0.9), "0.3 to 1 s"),
        ((0.03, 0.015, 0.045), "about 30 ms"),
        ((14.0, 9.6, 20.4), "10 to 20 s"),
    ],
)
def test_an_expected_time_is_an_interval_where_it_is_uncertain(expected: Any, text: str) -> None:
    assert units.about(*expected) == text


@pytest.mark.parametrize("seconds", [60, 100])
def test_the_words_of_the_time_left_of_a_load_hardly_ever_go_back_and_forth(seconds: int) -> None:
    again = 0
    for seed in range(5):
        said: list[str] = []
        for seen in replay(*_download(seconds, seed)):
            words = units.time_left(seen.left, seen.low, seen.high)
            if seen.left is not None and words not in said[-1:]:
                said.append(words)
        again += len(said) - len(set(said))
    assert again <= 2


def _download(seconds: int, seed: int) -> tuple[Recording, Expect]:
    """A recorded download at a rate that varies by a sixth."""
    varies, size, at, done = random.Random(seed), 20_000_000 * seconds, [0.5], [0]
    while done[-1] < size:
        at.append(at[-1] + 0.1)
        done.append(min(size, done[-1] + int(2_000_000 * math.exp(varies.uniform(-0.15, 0.15)))))
    conditions, expect = expecting(fetch_bytes=size)
    end = at[-1]
    recording: Recording = {
        "case": "download",
        "model": "org/a",
        "seconds": end + 0.3,
        "bytes": size,
        "conditions": conditions,
        "steps": [0.2, 0.3, end - 0.5, *[0.02] * 6],
        "timeline": {
            "began": [0.0, 0.2, 0.5, *(end + 0.02 * step for step in range(6))],
            "series": [{"step": 3, "size": size, "at": at, "bytes": done}],
            "stalls": [],
            "counts": [],
        },
    }
    return recording, expect
