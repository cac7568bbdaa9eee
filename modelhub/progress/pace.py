"""Predicts, while a load runs, how much of its time has passed, and how much is left.

Pure: no clock and no I/O, so that a recorded load can be replayed through it. Before a load begins it has the
``Expectation`` of each step; a step that counts corrects that by its own rate, one that does not moves by its
expected time, slower before its end and never past it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import accumulate, pairwise
from typing import cast

from modelhub.checkpoints import TOTAL_STEPS, Checkpoint
from modelhub.payloads import Conditions
from modelhub.progress.expectation import Expectation, Interval, interval, is_guess
from modelhub.progress.kinds import uncached_bytes
from modelhub.progress.rate import Rate

MAX_PROGRESS = 0.99  # progress is 1.0 only in model_load_completed
_FETCH, _READ = 3, 5
_FIRST_BYTES_S = 0.05  # from the request to the first bytes from the disk
# How early a step that is not counted slows down, of its expected time: the earlier, the less that is known.
_SOFT, _MOST_SOFT = 0.4, 0.2
_LEAST_SOFT_S = 0.002
_OVERDUE = 0.1
_SLOWER = 0.5  # how fast the bar moves where it is ahead, relative to what would bring it to its end in time
Expect = Callable[[Conditions], Expectation]


class Pace:
    """The pace of one load that begins at ``now``; ``expect`` tells what to expect in given conditions."""

    def __init__(self, expect: Expect, conditions: Conditions, now: float) -> None:
        self._expect = expect
        self._conditions = conditions
        self._expected = expect(conditions)
        self._started_at = now
        self._step, self._step_at = 1, now
        self._durations = [0.0] * TOTAL_STEPS  # of the steps that have ended
        self._rate: Rate | None = None
        self._unit: str | None = None
        self._progress, self._progress_at = 0.0, now

    def take(self, checkpoint: Checkpoint, now: float) -> None:
        """A checkpoint that is not earlier than the last one."""
        if checkpoint.step > self._step:
            self._end_step(now)
            self._step, self._step_at = checkpoint.step, now
        if checkpoint.done is None or not checkpoint.size or checkpoint.unit is None:
            return
        if self._rate is None or checkpoint.unit != self._unit:
            self._begin_count(checkpoint.done, checkpoint.size, checkpoint.unit, now)
        elif checkpoint.done != self._rate.done or checkpoint.size != self._rate.size:
            self._rate.take(checkpoint.done, checkpoint.size, now)

    def left(self, now: float) -> Interval:
        """Seconds left."""
        here_s, spread = self._here(now)
        later = range(self._step, TOTAL_STEPS)
        seconds = [here_s, *(self._expected.seconds[index] for index in later)]
        return interval(seconds, [spread, *(self._expected.spreads[index] for index in later)])

    def shown_left(self, now: float) -> Interval | None:
        """Seconds left; None while that would be a guess."""
        left = self.left(now)
        return None if is_guess(left.low, left.high) else left

    def progress(self, now: float) -> float:
        """How much of the whole time has passed, 0 to 1; it never goes back. Call it as time goes on."""
        left_s = self.left(now).cautious
        passed_s = now - self._progress_at
        elapsed_s = now - self._started_at
        reached = elapsed_s / (elapsed_s + left_s)
        if reached < self._progress:
            step = (1 - self._progress) * min(1.0, _SLOWER * passed_s / left_s)
            reached = min(self._progress + step, MAX_PROGRESS)
        self._progress, self._progress_at = min(max(reached, self._progress), MAX_PROGRESS), now
        return self._progress

    def shares(self, now: float) -> list[float]:
        """How much of the bar each step takes; the sum is 1, and the bar ends inside the running step."""
        here_s, _ = self._here(now)
        passed = [*self._durations[: self._step - 1], now - self._step_at]
        reached_s = sum(passed)
        expected = [*passed[:-1], passed[-1] + here_s, *self._expected.seconds[self._step :]]
        total = max(sum(expected), 1e-9)
        edges = [edge / total for edge in accumulate(expected, initial=0.0)]
        reached = reached_s / total
        if 0 < reached < 1:
            left, right = self._progress / reached, (1 - self._progress) / (1 - reached)
            edges = [edge * left if edge <= reached else 1 - (1 - edge) * right for edge in edges]
        return [round(end - begin, 4) for begin, end in pairwise(edges)]

    def _end_step(self, now: float) -> None:
        self._durations[self._step - 1] = now - self._step_at
        self._rate = self._unit = None

    def _begin_count(self, done: int, size: int, unit: str, now: float) -> None:
        if unit == "bytes" and self._step == _FETCH:
            self._learn(fetch_bytes=size - done, weight_bytes=size)
        elif unit == "tensors" and self._step == _READ:
            self._learn(converts=True)
        index = self._step - 1
        expected_s, spread = self._expected.seconds[index], self._expected.spreads[index]
        was_unseen = unit != "bytes" and done > 0 and self._unit is not None
        if unit == "bytes" and self._step == _READ:
            self._rate = self._reading(done, size, now)
        elif was_unseen:  # it went on while something else was counted
            self._rate = Rate(size, 0, expected_s, spread, self._step_at, unit)
            self._rate.credit(done, now)
        else:
            self._rate = Rate(size, done, expected_s, spread, now, unit)
        self._unit = unit

    def _reading(self, done: int, size: int, now: float) -> Rate:
        """The weights are read from the beginning of the load on, not from that of the step."""
        cached = size - min(uncached_bytes(self._conditions), size)
        spread = self._expected.spreads[_READ - 1]
        if not self._expected.reading_s or done <= cached:
            return Rate(size, done, self._expected.seconds[_READ - 1], spread, now)
        began_at = min(self._started_at + _FIRST_BYTES_S, now)
        rate = Rate(size, cached, self._expected.reading_s, spread, began_at)
        rate.credit(done, now)
        return rate

    def _learn(self, **known: object) -> None:
        """What is known of the conditions from here on."""
        conditions = cast(Conditions, {**self._conditions, **known})
        if conditions != self._conditions:
            self._conditions = conditions
            self._expected = self._expect(conditions)

    def _here(self, now: float) -> tuple[float, float]:
        """Seconds that the running step still takes, and their spread."""
        index = self._step - 1
        expected_s, spread = self._expected.seconds[index], self._expected.spreads[index]
        if self._rate is not None and self._rate.share > 0:
            left_s, counted_spread = self._rate.left(now)
            assembly_s = 0.0
            if self._step == _READ and self._unit == "bytes":  # tensors that are converted take longer
                assembly_s = self._expected.assembly_s - (now - self._step_at)
            return max(left_s, assembly_s), counted_spread
        return _soft(expected_s, spread, now - self._step_at), spread


def _soft(expected_s: float, spread: float, passed_s: float) -> float:
    """What is left of a time that is only expected: less and less quickly towards its end, never nothing.

    What takes longer than expected will take longer still.
    """
    overdue_s = _OVERDUE * max(0.0, passed_s - expected_s)
    width = max(min(_SOFT * spread, _MOST_SOFT) * expected_s, _LEAST_SOFT_S)
    over = (expected_s - passed_s) / width
    soft_s = width * (over + math.log1p(math.exp(-over)) if over > 0 else math.log1p(math.exp(over)))
    return soft_s + overdue_s
