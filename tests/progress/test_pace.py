"""The pace of a load: the bar by the time that has passed, the time left by what is counted."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from modelhub.checkpoints import checkpoint
from modelhub.payloads import Conditions
from modelhub.progress.expectation import Expectation
from modelhub.progress.pace import Pace
from tests.support.expecting import conditions, expecting

GB = 10**9
TENTH = 0.1


def expect(*seconds: float, spread: float = 0.1, reading_s: float = 0.0) -> Expectation:
    """Steps of so many seconds, with the same spread each."""
    assembly_s = 0.0 if reading_s else seconds[4]
    return Expectation(seconds, (spread,) * len(seconds), reading_s, assembly_s, "model")


def pace_of(expectation: Expectation, given: Conditions | None = None) -> Pace:
    return Pace(lambda _: expectation, given or conditions(GB, cached_bytes=GB), 0.0)


def test_a_load_as_expected_moves_as_the_time_does() -> None:
    pace = pace_of(expect(1, 1, 0, 2, 0, 0, 0, 0, 6))
    begins, now = {1.0: 2, 2.0: 4, 4.0: 9}, 0.0
    for number in range(1, 99):
        now = number * TENTH
        if (step := begins.get(round(now, 1))) is not None:
            pace.take(checkpoint(step), now)
        assert pace.progress(now) == pytest.approx(now / 10, abs=0.03)
        assert pace.left(now).middle == pytest.approx(10 - now, abs=0.35)


def test_a_step_that_is_not_counted_slows_down_before_its_end_and_never_passes_it() -> None:
    pace = pace_of(expect(1, 0, 0, 0, 0, 0, 0, 0, 1))
    shown = [pace.progress(number * TENTH) for number in range(1, 200)]
    assert all(after > before for before, after in pairwise(shown)), "it always moves"
    assert max(shown) < 0.99
    steps = [after - before for before, after in pairwise(shown)]
    assert steps[5] > 3 * steps[30] > 0


def test_what_is_counted_replaces_what_was_expected() -> None:
    pace = pace_of(expect(0.1, 0, 0, 0, 1, 0, 0, 0, 0.1, reading_s=1), conditions(GB))
    pace.take(checkpoint(5), 0.1)
    for number in range(1, 51):  # ten times as slow
        now = 0.1 + number * TENTH
        pace.take(checkpoint(5, GB * number // 100, GB, "bytes"), now)
        shown = pace.progress(now)
    assert pace.left(now).middle == pytest.approx(5.1, rel=0.1)
    assert shown == pytest.approx(0.5, abs=0.12)


def test_weights_that_were_read_before_their_step_tell_the_rate_at_once() -> None:
    pace = pace_of(expect(2, 0, 0, 0, 1, 0, 0, 0, 0.1, spread=0.5, reading_s=3), conditions(GB))
    pace.progress(2.0)
    pace.take(checkpoint(5), 2.0)
    pace.take(checkpoint(5, GB // 5, GB, "bytes"), 2.0)
    assert pace.left(2.0).middle == pytest.approx(8.1, rel=0.25)


def test_the_size_of_a_download_is_learned_from_its_first_bytes() -> None:
    pace = Pace(expecting()[1], conditions(None), 0.0)
    assert pace.shown_left(0.5) is None
    pace.take(checkpoint(3), 0.5)
    for number in range(20):
        pace.take(checkpoint(3, number * GB // 100, GB, "bytes"), 0.5 + number)
    left = pace.shown_left(19.5)
    assert left is not None
    assert left.middle == pytest.approx(81, rel=0.15)


def test_tensors_go_on_where_bytes_have_ended() -> None:
    pace = pace_of(expect(0.1, 0, 0, 0, 4, 0, 0, 0, 0.1))
    pace.take(checkpoint(5), 0.1)
    pace.take(checkpoint(5, GB, GB, "bytes"), 0.1)
    for number in range(1, 21):
        pace.take(checkpoint(5, number, 40, "tensors"), 0.1 + number * TENTH)
    assert pace.left(2.1).middle == pytest.approx(2.1, rel=0.15)


def test_no_time_left_is_shown_until_it_is_no_guess() -> None:
    assert pace_of(expect(*[1.0] * 9, spread=0.9)).shown_left(0.0) is None
    shown = pace_of(expect(*[1.0] * 9, spread=0.2)).shown_left(0.0)
    assert shown is not None
    assert shown.low < shown.middle < shown.high <= 3 * shown.low


def test_the_bar_neither_goes_back_nor_stands_still_whatever_comes() -> None:
    noise = random.Random(7)
    for _ in range(100):
        pace = Pace(expecting()[1], conditions(noise.choice([None, 10**8, 10**10])), 0.0)
        now, shown, step, done, size = 0.0, [0.0], 1, 0, 1
        for _ in range(200):
            now += noise.expovariate(5)
            if noise.random() < 0.05 and step < 9:
                step, done, size = step + 1, 0, noise.randrange(1, 10**10)
                pace.take(checkpoint(step), now)
            elif step in (3, 5, 9):
                done = noise.randrange(done, size + 1)
                pace.take(checkpoint(step, done, size, "layers" if step == 9 else "bytes"), now)
            shown.append(pace.progress(now))
            shares = pace.shares(now)
            assert sum(shares) == pytest.approx(1, abs=0.001)
            assert min(shares) >= 0
            assert sum(shares[: step - 1]) - 0.001 <= shown[-1] <= sum(shares[:step]) + 0.001
        assert all(0 <= before < after or after == 0.99 for before, after in pairwise(shown))
