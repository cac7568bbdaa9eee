"""The state of one load in progress: pure arithmetic over checkpoints and a clock that is handed in."""

from __future__ import annotations

from collections import deque

from modelhub.checkpoints import TOTAL_STEPS, Checkpoint, describe_step
from modelhub.payloads import Conditions, ProgressState, Timeline
from modelhub.progress.pace import Expect, Pace
from modelhub.progress.timeline import TimelineRecorder
from modelhub.states import StallCause

MIN_INTERVAL_S = 0.1  # so at most 10 events a second
HEARTBEAT_S = 0.4  # without news: the bar moves by the time that is expected
# In its first moments a load is told of more often: many are over before a second has passed.
_FIRST_INTERVAL_S = 0.03
_PART_OF_ELAPSED = 0.25
_STALLED_HEARTBEAT_S = 1.0
_RATE_WINDOW_S = 3.0
_RATE_MIN_SPAN_S = 0.25


class Tracker:
    """Takes the checkpoints of one load and decides which states to emit, and when.

    ``feed`` and ``tick`` return the states to emit now, oldest first; each is the part of an event that the
    load itself determines. Times are seconds on a monotonic clock. A checkpoint that goes back raises
    ValueError and changes nothing. ``expect`` tells what is expected of the load in ``conditions``, those in
    which it begins.
    """

    def __init__(self, now: float, conditions: Conditions, expect: Expect, stall_s: float = 10.0) -> None:
        self.started_at = now
        self._timeline = TimelineRecorder(now)
        self._timeline.begin(1, now)  # step 1 includes the wait for a worker
        self._pace = Pace(expect, conditions, now)
        self._stall_s = stall_s
        self._current: Checkpoint | None = None
        self._durations: list[float | None] = [None] * TOTAL_STEPS
        self._step_began_at = now
        self._moved_at = now
        self._emitted_at = now
        self._pending = False
        self._samples: deque[tuple[float, int]] = deque()
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
        self._pace.take(checkpoint, now)
        self._sample(now)
        self._pending = True
        return self.tick(now)

    def tick(self, now: float) -> list[ProgressState]:
        """Time has passed: return what was held back, or a sign of life, if it is due."""
        stalled_at = self._moved_at + self._stall_s
        if self._emitted_at < stalled_at <= now:
            due_at = stalled_at
        elif self._pending:
            due_at = self._emitted_at + self._interval(MIN_INTERVAL_S)
        elif now < stalled_at:
            due_at = self._emitted_at + self._interval(HEARTBEAT_S)
        else:
            due_at = self._emitted_at + _STALLED_HEARTBEAT_S
        return [self._state_to_emit(now)] if now >= due_at else []

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
        left = None if is_stalled else self._pace.shown_left(now)
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
            "progress": round(self._pace.progress(now), 4),
            "shares": self._pace.shares(now),
            "elapsed": round(elapsed, 3),
            "eta": None if left is None else round(left.middle, 3),
            "eta_low": None if left is None else round(left.low, 3),
            "eta_high": None if left is None else round(left.high, 3),
            "stalled_for": round(stalled, 1) if is_stalled else None,
            "stall_cause": self.stall_cause if is_stalled else None,
            "steps": [None if s is None else round(s, 4) for s in self._durations],
        }

    def timeline(self, now: float) -> Timeline:
        """The timeline so far."""
        silent = now - self._moved_at
        stalled = (self._step, self._moved_at, silent) if silent >= self._stall_s else None
        return self._timeline.timeline(stalled)

    @property
    def _step(self) -> int:
        return 1 if self._current is None else self._current.step

    def _interval(self, longest_s: float) -> float:
        """Seconds from the last event to the next one."""
        since_start_s = _PART_OF_ELAPSED * (self._emitted_at - self.started_at)
        return min(longest_s, max(_FIRST_INTERVAL_S, since_start_s))

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
        self._pace.take(checkpoint, now)
        self._samples.clear()
        self._sample(now)

    def _sample(self, now: float) -> None:
        checkpoint = self._current
        if checkpoint is None or checkpoint.done is None or checkpoint.unit is None:
            return
        self._timeline.count(checkpoint.step, checkpoint.done, checkpoint.size, now, checkpoint.unit)
        if checkpoint.unit != "bytes":
            return
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

    def _state_to_emit(self, now: float) -> ProgressState:
        self._emitted_at = now
        self._pending = False
        return self.state(now)
