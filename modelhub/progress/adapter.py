"""The progress adapter: checkpoint tuple in, validated full-state event out, to the model's room.

Nothing in here may break a load: what cannot be built or sent is a logged warning, and counted.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from typing import Any

from marshmallow import ValidationError

from modelhub.checkpoints import Checkpoint
from modelhub.errors import ModelhubError
from modelhub.progress.log import ModelLog, absent
from modelhub.progress.schemas import check_checkpoint, check_event
from modelhub.progress.trace import Trace
from modelhub.progress.tracker import Tracker

log = logging.getLogger(__name__)
DASHBOARD_ROOM = "dashboard"
Emit = Callable[[str, dict[str, Any], list[str]], None]
Keep = Callable[[dict[str, Any]], None]


def _keep_nothing(payload: dict[str, Any]) -> None:
    """For ends that nobody writes down."""


def room_of(model_id: str) -> str:
    """The name of the room in which a model's events are told."""
    return f"model:{model_id}"


class _OpenLoad:
    """A load between its first and its terminal event."""

    def __init__(self, load_id: str) -> None:
        self.load_id = load_id
        self.tracker: Tracker | None = None  # None while it is queued


class ProgressAdapter:
    """Keeps the log of every model and tells each event through ``emit(name, payload, rooms)``."""

    def __init__(
        self, emit: Emit, stall_s: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.epoch = secrets.token_hex(6)
        self.rejected = 0
        self._emit = emit
        self._stall_s = stall_s
        self._clock = clock
        self._logs: dict[str, ModelLog] = {}
        self._open: dict[str, _OpenLoad] = {}

    def knows(self, model_id: str) -> bool:
        """Whether anything was ever told of this model."""
        return model_id in self._logs

    def known(self) -> list[str]:
        """The models of which anything was told."""
        return list(self._logs)

    def snapshot(self, model_id: str) -> dict[str, Any]:
        """The model's latest full state, with elapsed time and the like as they are now."""
        model_log = self._logs.get(model_id)
        if model_log is None:
            return absent(model_id, self.epoch)
        load = self._open.get(model_id)
        if load is None or load.tracker is None:
            return model_log.snapshot
        return {**model_log.snapshot, **load.tracker.state(self._clock())}

    def timeline(self, load_id: str, model_id: str) -> dict[str, Any] | None:
        """The timeline so far of a load that runs; None for any other."""
        load = self._open.get(model_id)
        if load is None or load.load_id != load_id or load.tracker is None:
            return None
        return load.tracker.timeline(self._clock())

    def log_of(self, model_id: str) -> ModelLog:
        """The model's log of events, made on first use."""
        return self._logs.setdefault(model_id, ModelLog(model_id, self.epoch))

    def trace(self, model_id: str) -> Trace:
        """What is kept of the model's latest load for who comes late."""
        return self._logs[model_id].trace if model_id in self._logs else Trace()

    def is_open(self, model_id: str) -> bool:
        """Whether a load of the model has been told of and has not ended."""
        return model_id in self._open

    def queued(self, model_id: str, load_id: str, position: int) -> None:
        """A load waits; ``position`` 1 is the next to run."""
        self._open[model_id] = _OpenLoad(load_id)
        self._publish("model_load_queued", model_id, load_id, "queued", {"queue_position": position})

    def started(
        self, model_id: str, load_id: str, model_bytes: int | None, first_step_s: float = 0.0
    ) -> None:
        """A load begins; ``model_bytes`` is the size of its weights where it is known already.

        ``first_step_s`` is how long the process is expected to let wait for itself.
        """
        load = self._open[model_id] = _OpenLoad(load_id)
        load.tracker = Tracker(self._clock(), model_bytes, self._stall_s, first_step_s)
        self._publish("model_load_started", model_id, load_id, "loading", load.tracker.state(self._clock()))

    def emit_progress(
        self,
        model_id: str,
        step: int,
        message: str,
        done: int | None = None,
        size: int | None = None,
        unit: str | None = None,
        detail: str | None = None,
    ) -> None:
        """Tell that the model's load has come to ``step``, or further in it. Never raises."""
        try:
            checkpoint = check_checkpoint(Checkpoint(step, message, done, size, unit, detail))
            load, tracker = self._running(model_id)
            states = tracker.feed(checkpoint, self._clock())
        except Exception as error:
            self._reject(f"a checkpoint of {model_id}", error)
            return
        for state in states:
            self._publish("model_load_progress", model_id, load.load_id, "loading", state)

    def tick(self, model_id: str) -> None:
        """No checkpoint came: tell what was held back, or a sign of life, or a stall. Never raises."""
        try:
            load, tracker = self._running(model_id)
            states = tracker.tick(self._clock())
        except Exception as error:
            self._reject(f"a tick of {model_id}", error)
            return
        for state in states:
            self._publish("model_load_progress", model_id, load.load_id, "loading", state)

    def completed(self, model_id: str, facts: dict[str, Any], keep: Keep = _keep_nothing) -> dict[str, Any]:
        """The load ended well; ``facts`` are those of the loaded model.

        ``keep``, here and below, gets the payload before anybody else: who asks at the news finds it kept. At
        the end of a load it also has the ``timeline``, None if the load only waited.
        """
        state = self._final_state(model_id)
        ready = {"progress": 1.0, "percent": 100, "eta": None, "stalled_for": None, "detail": None}
        return self._end(
            "model_load_completed",
            model_id,
            "ready",
            {**state, **ready},
            {**facts, "seconds": state.get("elapsed")},
            keep,
        )

    def failed(self, model_id: str, error: ModelhubError, keep: Keep = _keep_nothing) -> dict[str, Any]:
        """The load failed."""
        state = self._final_state(model_id)
        words = {**error.to_dict(), "step": state.get("step")}
        return self._end("model_load_failed", model_id, "failed", {**state, "error": words}, {}, keep)

    def cancelled(self, model_id: str, by: str, keep: Keep = _keep_nothing) -> dict[str, Any]:
        """The load was cancelled; ``by`` says by whom."""
        state = self._final_state(model_id)
        return self._end("model_load_cancelled", model_id, "cancelled", state, {"by": by}, keep)

    def unloading(self, model_id: str) -> None:
        """The model is about to leave memory: the state changes, no event of its own is told."""
        model_log = self.log_of(model_id)
        model_log.snapshot = {**model_log.snapshot, "state": "unloading"}

    def unloaded(
        self,
        model_id: str,
        load_id: str,
        receipt: dict[str, Any],
        error: ModelhubError | None = None,
        keep: Keep = _keep_nothing,
    ) -> dict[str, Any]:
        """The model has left memory; with ``error`` where its process ended by itself."""
        changes: dict[str, Any] = {}
        if error is not None:
            changes["error"] = {**error.to_dict(), "step": None}
        state = "absent" if error is None else "failed"
        return self._publish("model_unloaded", model_id, load_id, state, changes, receipt, keep)

    def stopping(self, error: ModelhubError) -> None:
        """Tell everybody that the server is about to end."""
        try:
            self._emit("server_stopping", {"epoch": self.epoch, **error.to_dict()}, [])
        except Exception as failure:
            log.warning("That the server stops could not be told: %s", failure)

    def _running(self, model_id: str) -> tuple[_OpenLoad, Tracker]:
        load = self._open.get(model_id)
        if load is None or load.tracker is None:
            raise LookupError("no load of this model is running")
        return load, load.tracker

    def _final_state(self, model_id: str) -> dict[str, Any]:
        """The running load's last state, what was held back told first; empty if it only waited."""
        load = self._open[model_id]
        if load.tracker is None:
            return {}
        now = self._clock()
        for state in load.tracker.flush(now):
            self._publish("model_load_progress", model_id, load.load_id, "loading", state)
        load.tracker.finish(now)
        return {**load.tracker.state(now), "eta": None, "stalled_for": None, "rate": None}

    def _end(
        self,
        name: str,
        model_id: str,
        state: str,
        changes: dict[str, Any],
        extras: dict[str, Any],
        keep: Keep,
    ) -> dict[str, Any]:
        load = self._open.pop(model_id)
        timeline = None if load.tracker is None else load.tracker.timeline(self._clock())

        def keep_all(payload: dict[str, Any]) -> None:
            keep({**payload, "timeline": timeline})

        return self._publish(name, model_id, load.load_id, state, changes, extras, keep_all)

    def _publish(
        self,
        name: str,
        model_id: str,
        load_id: str,
        state: str,
        changes: dict[str, Any],
        extras: dict[str, Any] | None = None,
        keep: Keep = _keep_nothing,
    ) -> dict[str, Any]:
        """Build an event over the absent state, keep it as the snapshot, emit it. Never raises."""
        model_log = self.log_of(model_id)
        identity = {"load_id": load_id, "seq": model_log.snapshot["seq"] + 1, "state": state}
        payload = {**absent(model_id, self.epoch), **identity, **changes}
        try:
            payload = check_event({**payload, **(extras or {})})
        except ValidationError as error:
            self._reject(f"{name} of {model_id}", error)
            bad = set(error.messages) if isinstance(error.messages, dict) else set()
            payload |= {key: value for key, value in (extras or {}).items() if key not in bad}
        keep(payload)
        model_log.append(name, payload)
        try:
            self._emit(name, payload, [room_of(model_id), DASHBOARD_ROOM])
        except Exception as error:
            log.warning("%s of %s could not be emitted: %s", name, model_id, error)
        return payload

    def _reject(self, what: str, error: Exception) -> None:
        self.rejected += 1
        log.warning("%s was rejected: %s", what, error)
