"""The state of one load in progress: pure arithmetic over checkpoints and a clock that is handed in."""

from __future__ import annotations

import math
from collections import deque
from itertools import accumulate, pairwise

from modelhub.checkpoints import TOTAL_STEPS, Checkpoint, describe_step
from modelhub.payloads import ProgressState, Timeline
from modelhub.progress import pace
from modelhub.progress.timeline import TimelineRecorder
from modelhub.states import StallCause

MIN_INTERVAL_S = 0.1  # so at most 10 events a second
HEARTBEAT_S = 1.0
_RATE_WINDOW_S = 3.0
_RATE_MIN_SPAN_S = 0.25
_FETCH_STEP = 3
_READ_STEP = 5
_MAX_PROGRESS = 0.99  # progress is 1.0 only in model_load_completed


class Tracker:
    """Takes the checkpoints of one load and decides which states to emit, and when.

    ``feed`` and ``tick`` return the states to emit now, oldest first; each is the part of an event that the
    load itself determines. Times are seconds on a monotonic clock. A checkpoint that goes back raises
    ValueError and changes nothing. ``first_step_s`` is a wait that is expected before the first step,
    ``to_fetch`` what step 3 is expected to fetch.
    """

    def __init__(
        self,
        now: float,
        model_bytes: int | None = None,
        stall_s: float = 10.0,
        first_step_s: float = 0.0,
        to_fetch: pace.Fetch | None = None,
    ) -> None:
        self.started_at = now
        self._timeline = TimelineRecorder(now)
        self._timeline.begin(1, now)  # step 1 includes the wait for a worker
        self._first_step_s = first_step_s
        self._to_fetch = to_fetch
        self._model_bytes = model_bytes
        self._stall_s = stall_s
        self._current: Checkpoint | None = None
        self._durations: list[float | None] = [None] * TOTAL_STEPS
        self._step_began_at = now
        self._moved_at = now
        self._emitted_at = now
        self._pending = False
        self._samples: deque[tuple[float, int]] = deque()
        self._progress = 0.0
        self.stall_cause: StallCause | None = None  # of the stall that lasts, as far as it is known

    def feed(self, checkpoint: Checkpoint, now: float) -> list[ProgressState]:
        """Take one checkpoint. The first and the last of each step are always emitted."""
        current = self._current
        if current is None or checkpoint.step > current.step:
            held_back = self.flush(now)
            self._begin_step(checkpoint, now)
            return [*held_back, self._state_to_emit(now)]
        if checkpoint.step < current.step:
            raise ValueError(f"step {checkpoint.step} after step {current.step}")
        done, before = checkpoint.done, current.done
        if done is not None and before is not None and checkpoint.unit == current.unit and done < before:
            raise ValueError(f"{done} {checkpoint.unit} after {before}")
        if done != before:
            self._moved(now)
        self._current = checkpoint
        self._sample(now)
        self._pending = True
        return self.tick(now)

    def tick(self, now: float) -> list[ProgressState]:
        """Time has passed: return what was held back, or a sign of life, if it is due."""
        since = now - self._emitted_at
        due = since >= MIN_INTERVAL_S if self._pending else since >= HEARTBEAT_S
        return [self._state_to_emit(now)] if due else []

    def flush(self, now: float) -> list[ProgressState]:
        """What is still held back; call it before the end of the load is emitted."""
        return [self._state_to_emit(now)] if self._pending else []

    def finish(self, now: float) -> None:
        """The load is over: the duration of the running step is final."""
        self._moved(now)
        if self._current is not None and self._durations[self._current.step - 1] is None:
            self._durations[self._current.step - 1] = now - self._step_began_at

    def is_stalled(self, now: float) -> bool:
        """Whether there was no news for so long that the load counts as stalled."""
        return now - self._moved_at >= self._stall_s

    def state(self, now: float) -> ProgressState:
        """The load as it stands."""
        checkpoint = self._current or Checkpoint(1, describe_step(1).message)
        row = describe_step(checkpoint.step)
        elapsed = now - self.started_at
        stalled = now - self._moved_at
        is_stalled = self.is_stalled(now)
        rate = self._rate(now)
        here = self._expected_here(checkpoint, rate)
        part = self._part_done(checkpoint, now, here)
        later = pace.expected_after(checkpoint.step, self._model_bytes, self._fetch_s)
        passed = [self._expected(step) for step in range(1, checkpoint.step)]
        before = sum(passed)
        reached = (before + here * part) / (before + here + later)
        self._progress = max(self._progress, min(_MAX_PROGRESS, reached))
        remaining = here * (1 - part) + later
        return {
            "step": checkpoint.step,
            "total": TOTAL_STEPS,
            "phase": row.phase.value,
            "message": checkpoint.message,
            "percent": row.percent,
            "done": checkpoint.done,
            "size": checkpoint.size,
            "unit": checkpoint.unit,
            "rate": None if rate is None else round(rate, 1),
            "detail": checkpoint.detail,
            "progress": round(self._progress, 4),
            "shares": self._shares([*passed, here], reached),
            "elapsed": round(elapsed, 3),
            "eta": None if is_stalled else self._time_left(checkpoint, rate, remaining),
            "eta_low": None,
            "eta_high": None,
            "stalled_for": round(stalled, 1) if is_stalled else None,
            "stall_cause": self.stall_cause if is_stalled else None,
            "steps": [None if s is None else round(s, 4) for s in self._durations],
        }

    def timeline(self, now: float) -> Timeline:
        """The timeline so far."""
        silent = now - self._moved_at
        stalled = (self._step, self._moved_at, silent) if silent >= self._stall_s else None
        return self._timeline.timeline(stalled)

    def _shares(self, so_far: list[float], reached: float) -> list[float]:
        """How much of the bar each step takes, by the time it is expected to take; the sum is 1.

        ``reached`` may lag behind the progress that was emitted, which never goes back: the steps up to it
        are then drawn wider by as much, so that the bar ends inside the running step.
        """
        later = range(len(so_far) + 1, TOTAL_STEPS + 1)
        ahead = (pace.expected_seconds(step, self._model_bytes, self._fetch_s) for step in later)
        expected = [*so_far, *ahead]
        edges = [edge / sum(expected) for edge in accumulate(expected, initial=0.0)]
        if 0 < reached < 1:
            left, right = self._progress / reached, (1 - self._progress) / (1 - reached)
            edges = [edge * left if edge <= reached else 1 - (1 - edge) * right for edge in edges]
        return [round(end - begin, 4) for begin, end in pairwise(edges)]

    @property
    def _step(self) -> int:
        return 1 if self._current is None else self._current.step

    def _moved(self, now: float) -> None:
        silent = now - self._moved_at
        if silent >= self._stall_s:
            self._timeline.stall(self._step, self._moved_at, silent)
        self._moved_at = now
        self.stall_cause = None

    def _begin_step(self, checkpoint: Checkpoint, now: float) -> None:
        self._moved(now)
        if self._current is not None:
            self._durations[self._current.step - 1] = now - self._step_began_at
        if checkpoint.step > 1:
            self._step_began_at = now
            self._timeline.begin(checkpoint.step, now)
        self._current = checkpoint
        self._samples.clear()
        self._sample(now)

    def _sample(self, now: float) -> None:
        checkpoint = self._current
        if checkpoint is None or checkpoint.done is None or checkpoint.unit != "bytes":
            return
        if checkpoint.size and (checkpoint.step >= _READ_STEP or self._model_bytes is None):
            self._model_bytes = checkpoint.size
        self._timeline.count(checkpoint.step, checkpoint.done, checkpoint.size, now)
        self._samples.append((now, checkpoint.done))
        while now - self._samples[0][0] > _RATE_WINDOW_S and len(self._samples) > 2:
            self._samples.popleft()

    def _rate(self, now: float) -> float | None:
        """Bytes per second over the last few seconds; None until it can be measured."""
        if len(self._samples) < 2:
            return None
        (then, before), (_, done) = self._samples[0], self._samples[-1]
        # Up to now, not to the last sample: a pause since then lowers the rate.
        return (done - before) / (now - then) if now - then >= _RATE_MIN_SPAN_S else None

    @property
    def _fetch_s(self) -> float:
        return 0.0 if self._to_fetch is None else self._to_fetch.seconds

    def _expected(self, step: int) -> float:
        """Seconds that a step was expected to take, or took where that was more."""
        took = self._durations[step - 1] or 0.0
        expected = pace.expected_seconds(step, self._model_bytes)
        return max(took, expected) if step == _FETCH_STEP else expected

    def _expected_here(self, checkpoint: Checkpoint, rate: float | None) -> float:
        """Seconds that the running step is expected to take in all, by its own rate once there is one."""
        counted = checkpoint.size if checkpoint.unit == "bytes" else None
        if counted and rate:
            return counted / rate
        fetch_s = self._fetch_s
        if counted and checkpoint.step == _FETCH_STEP:
            fetch_s = (self._to_fetch or pace.Fetch(None))._replace(size_bytes=counted).seconds
        expected = pace.expected_seconds(checkpoint.step, self._model_bytes, fetch_s)
        return expected + (self._first_step_s if checkpoint.step == 1 else 0.0)

    def _part_done(self, checkpoint: Checkpoint, now: float, expected: float) -> float:
        """How much of the running step is done, 0 to 1: by its count, else by time, ever slower towards 1."""
        if checkpoint.unit in ("bytes", "layers") and checkpoint.size and checkpoint.done is not None:
            return checkpoint.done / checkpoint.size
        return 1 - math.exp(-(now - self._step_began_at) / expected)

    def _time_left(self, checkpoint: Checkpoint, rate: float | None, remaining: float) -> float | None:
        """Seconds left, or None while it would be a guess."""
        counted = checkpoint.unit == "bytes" and checkpoint.done is not None
        measured = counted and (bool(rate) or checkpoint.done == checkpoint.size)
        if not measured and (checkpoint.step <= _READ_STEP or counted):
            return None
        return round(remaining, 2)

    def _state_to_emit(self, now: float) -> ProgressState:
        self._emitted_at = now
        self._pending = False
        return self.state(now)
