"""The progress adapter: checkpoint tuple in, validated full-state event out, to the model's Socket.IO room.

Nothing here may break a load: what cannot be built or sent is a logged warning, and counted.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

from marshmallow import ValidationError

from modelhub.checkpoints import Checkpoint
from modelhub.errors import ModelhubError
from modelhub.payloads import (
    Conditions,
    ErrorPayload,
    Facts,
    ProgressState,
    Receipt,
    Replica,
    Snapshot,
    Timeline,
    Use,
)
from modelhub.progress.log import ModelLog, absent
from modelhub.progress.logs import ModelLogs
from modelhub.progress.pace import Expect
from modelhub.progress.place import Place
from modelhub.progress.schemas import check_checkpoint, check_event
from modelhub.progress.trace import Trace
from modelhub.progress.tracker import Tracker
from modelhub.states import ACTIVE, EventName, StallCause, State

log = logging.getLogger(__name__)
DASHBOARD_ROOM = "dashboard"
Emit = Callable[[EventName, Snapshot, list[str]], None]  # name, payload, Socket.IO rooms
FindCause = Callable[[], StallCause | None]
Record = Callable[[Snapshot, Timeline | None], None]


def _record_nothing(payload: Snapshot, timeline: Timeline | None) -> None:
    """For loads that are kept in no journal."""


def room_of(model_id: str) -> str:
    """The name of the Socket.IO room of a model's events."""
    return f"model:{model_id}"


def _with_states(payload: Snapshot) -> Snapshot:
    """A payload that was JSON, with the enumerations that it had before."""
    cause = payload["stall_cause"]
    return {
        **payload,
        "state": State(payload["state"]),
        "stall_cause": None if cause is None else StallCause(cause),
    }


class _OpenLoad:
    """A load between its first and its terminal event."""

    def __init__(self, load_id: str) -> None:
        self.load_id = load_id
        self.place = Place()  # in the queue
        self.tracker: Tracker | None = None  # None while it is queued


class ProgressAdapter:
    """Keeps the log of every model and sends each event through ``emit(name, payload, rooms)``.

    One thread at a time may report on a load: the one that runs it. Reading is safe from any thread.
    ``stall_s`` is after how many seconds without news a load counts as stalled.
    """

    def __init__(
        self, emit: Emit, stall_s: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.epoch = secrets.token_hex(6)  # names this run of the server
        self.rejected = 0
        self.on_silent: list[Callable[[Snapshot], None]] = []  # called where a state changes without an event
        self._emit = emit
        self._stall_s = stall_s
        self._clock = clock
        self._open: dict[str, _OpenLoad] = {}
        self._logs = ModelLogs(self.epoch, self.is_open)

    # Reading

    def knows(self, model_id: str) -> bool:
        """Whether there is anything to say about this model."""
        return self._logs.knows(model_id)

    def known(self) -> list[str]:
        """The models that there is anything to say about."""
        return self._logs.known()

    def snapshot(self, model_id: str) -> Snapshot:
        """The model's latest full state, with position, elapsed time and the like as they are now."""
        model_log = self._logs.find(model_id)
        if model_log is None:
            return self._logs.absent(model_id)
        load = self._open.get(model_id)
        if load is None:
            return model_log.snapshot
        if load.tracker is None:
            return {**model_log.snapshot, "queue_position": load.place.position}
        return {**model_log.snapshot, **load.tracker.state(self._clock())}

    def timeline(self, load_id: str, model_id: str) -> Timeline | None:
        """The timeline so far of a load that is running; None for any other."""
        load = self._open.get(model_id)
        if load is None or load.load_id != load_id or load.tracker is None:
            return None
        return load.tracker.timeline(self._clock())

    def log_of(self, model_id: str) -> ModelLog:
        """The model's log of events, made on first use."""
        return self._logs.of(model_id)

    def trace(self, model_id: str) -> Trace:
        """The story of the model's latest load."""
        model_log = self._logs.find(model_id)
        return Trace() if model_log is None else model_log.trace

    def is_open(self, model_id: str) -> bool:
        """Whether a load of the model has been announced and has not ended."""
        return model_id in self._open

    # Reporting

    def restore_interrupted(self, model_id: str, error: ErrorPayload) -> None:
        """The end of an earlier run of the server interrupted a load of this model; emits nothing."""
        model_log = self.log_of(model_id)
        model_log.snapshot = {**model_log.snapshot, "state": State.INTERRUPTED, "error": error}
        self._note_silent(model_log)

    def queued(self, model_id: str, load_id: str, position: int) -> float | None:
        """A load waits; ``position`` 1 is the next to run.

        Not each position is an event, see ``Place``. Returns after how many seconds to call again where this
        one was held back, else None.
        """
        load = self._open.get(model_id)
        if load is None or load.load_id != load_id:
            load = self._open[model_id] = _OpenLoad(load_id)
        due_s = load.place.move(position, self._clock())
        if due_s != 0:
            return due_s
        changes = {"queue_position": load.place.emit(self._clock())}
        self._publish(EventName.QUEUED, model_id, load_id, State.QUEUED, changes)
        return None

    def started(
        self,
        model_id: str,
        load_id: str,
        conditions: Conditions,
        expect: Expect,
        node: str | None = None,
        placement: str | None = None,
    ) -> None:
        """A load begins in ``conditions``, on ``node`` of a cluster for the reason ``placement``.

        ``expect`` tells what is expected of it.
        """
        load = self._open[model_id] = _OpenLoad(load_id)
        load.tracker = Tracker(self._clock(), conditions, expect, self._stall_s)
        state = load.tracker.state(self._clock())
        where = {"node": node, "placement": placement}
        self._publish(EventName.STARTED, model_id, load_id, State.LOADING, {**state, **where})

    def placed(self, model_id: str, node: str | None, placement: str | None) -> None:
        """A load that runs goes on at another node: the next events say so."""
        model_log = self.log_of(model_id)
        model_log.snapshot = {**model_log.snapshot, "node": node, "placement": placement}

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
        """Report that the model's load has come to ``step``, or further in it. Never raises."""
        try:
            checkpoint = check_checkpoint(Checkpoint(step, message, done, size, unit, detail))
            load, tracker = self._running(model_id)
            states = tracker.feed(checkpoint, self._clock())
        except Exception as error:
            self._reject(f"a checkpoint of {model_id}", error)
            return
        self._publish_progress(model_id, load.load_id, states)

    def tick(self, model_id: str, find_cause: FindCause = lambda: None) -> None:
        """No checkpoint came: emit what was held back, a sign of life, or a stall. Never raises.

        ``find_cause`` is called while the load is stalled, for the likely cause.
        """
        try:
            load, tracker = self._running(model_id)
            if tracker.is_stalled(self._clock()):
                tracker.stall_cause = find_cause()
            states = tracker.tick(self._clock())
        except Exception as error:
            self._reject(f"a tick of {model_id}", error)
            return
        self._publish_progress(model_id, load.load_id, states)

    def completed(
        self, model_id: str, facts: Facts, record: Record = _record_nothing, use: Use | None = None
    ) -> Snapshot:
        """The load ended well; ``facts`` are those of the loaded model.

        ``record``, here and below, gets the payload before it is emitted, so that a client that reacts to the
        event finds the end in the journal, and the timeline, None for a load that only waited.
        """
        progress = self._final_state(model_id)
        ready = {"progress": 1.0, "percent": 100, "eta": None, "stalled_for": None, "detail": None}
        changes, extras = {**progress, **ready, "use": use}, {**facts, "seconds": progress.get("elapsed")}
        return self._end(EventName.COMPLETED, model_id, State.READY, changes, extras, record)

    def failed(
        self,
        model_id: str,
        error: ModelhubError,
        record: Record = _record_nothing,
        state: State = State.FAILED,
    ) -> Snapshot:
        """The load failed, or with ``state`` interrupted the server ends in the middle of it."""
        progress = self._final_state(model_id)
        changes = {**progress, "error": {**error.to_dict(), "step": progress.get("step")}}
        return self._end(EventName.FAILED, model_id, state, changes, {}, record)

    def cancelled(self, model_id: str, by: str, record: Record = _record_nothing) -> Snapshot:
        """The load was cancelled; ``by`` is page, rest or cli."""
        progress = self._final_state(model_id)
        return self._end(EventName.CANCELLED, model_id, State.CANCELLED, progress, {"by": by}, record)

    def dismiss(self, model_id: str) -> None:
        """Forget how the model's latest load ended; emits nothing.

        The number of its snapshot is a new one, so that a client that has seen the end takes it.
        """
        model_log = self.log_of(model_id)
        seq = model_log.snapshot["seq"] + 1
        model_log.snapshot = absent(model_id, self.epoch, seq)
        model_log.forget_trace()
        self._note_silent(model_log)

    def in_use(
        self, model_id: str, load_id: str, use: Use, replicas: Sequence[Replica] | None = None
    ) -> None:
        """A ready model is used in another way than before, or has other ``replicas``; None: as before.

        Emits nothing where all is as it was, or for a model that is not ready.
        """
        changes: dict[str, object] = {"use": use}
        self._change(model_id, load_id, changes if replicas is None else {**changes, "replicas": replicas})

    def taken_over(
        self,
        model_id: str,
        load_id: str,
        node: str | None,
        placement: str | None,
        replicas: Sequence[Replica],
    ) -> None:
        """A replica of a ready model has taken the place of its first copy; ``replicas`` are the others."""
        self._change(model_id, load_id, {"node": node, "placement": placement, "replicas": replicas})

    def _change(self, model_id: str, load_id: str, changes: Mapping[str, object]) -> None:
        """Something of a ready model is another: emit it where that is so."""
        model_log = self.log_of(model_id)
        last = model_log.snapshot
        after = {**last, **changes}
        if last["state"] != State.READY or last["load_id"] != load_id or after == last:
            return
        try:
            payload = check_event({**after, "seq": last["seq"] + 1})
        except ValidationError as error:
            self._reject(f"the use of {model_id}", error)
            return
        model_log.replace(payload)
        self._send(EventName.IN_USE, payload)

    def unloading(self, model_id: str) -> None:
        """The model is about to leave memory: the state changes, without an event of its own."""
        model_log = self.log_of(model_id)
        model_log.snapshot = {**model_log.snapshot, "state": State.UNLOADING, "use": None}
        self._note_silent(model_log)

    def unloaded(
        self,
        model_id: str,
        load_id: str,
        receipt: Receipt,
        error: ModelhubError | None = None,
        record: Record = _record_nothing,
    ) -> Snapshot:
        """The model has left memory; with ``error`` where its process ended by itself."""
        changes: dict[str, object] = {}
        if error is not None:
            changes["error"] = {**error.to_dict(), "step": None}
        state = State.ABSENT if error is None else State.FAILED
        return self._publish(
            EventName.UNLOADED,
            model_id,
            load_id,
            state,
            changes,
            cast(Mapping[str, object], receipt),
            lambda payload: record(payload, None),
        )

    # Following the adapter of another process, see ``web.follower``; one thread at a time

    def take(
        self, name: EventName, payload: Snapshot, record: Callable[[Snapshot], None] = lambda payload: None
    ) -> None:
        """Keep an event of the other process and emit it, unless it is old, or of another epoch.

        ``record`` gets its payload before it is emitted.
        """
        if not self._is_newer(payload):
            return
        model_log = self.log_of(payload["id"])
        payload = _with_states(payload)
        if name == EventName.IN_USE:
            model_log.replace(payload)
        else:
            model_log.append(name, payload)
        record(payload)
        self._send(name, payload)
        if payload["state"] not in ACTIVE and name != EventName.IN_USE:
            model_log.pack()

    def take_silent(self, snapshot: Snapshot) -> bool:
        """The same for a state that changed without an event: its number may be that of the last one."""
        if not self._is_newer(snapshot, or_same=True):
            return False
        model_log = self.log_of(snapshot["id"])
        model_log.replace(_with_states(snapshot))
        if snapshot["load_id"] is None:
            model_log.forget_trace()
        return True

    def adopt(self, epoch: str, logs: Iterable[tuple[Snapshot, bytes]]) -> None:
        """Follow another epoch: of each model its snapshot, and its log as ``ModelLog.packed``."""
        adopted = ModelLogs(epoch, self._is_queued, numbers=False)
        for snapshot, packed in logs:
            model_log = adopted.of(snapshot["id"])
            model_log.restore(packed)
            newest = model_log.events[-1:]
            is_newer = bool(newest) and newest[0].seq > snapshot["seq"]  # it came when that was read
            model_log.snapshot = _with_states(newest[0].payload if is_newer else snapshot)
            if snapshot["state"] not in ACTIVE:
                model_log.pack()
        self._logs, self.epoch = adopted, epoch

    def _is_newer(self, payload: Snapshot, or_same: bool = False) -> bool:
        if payload["epoch"] != self.epoch:
            return False
        model_log = self._logs.find(payload["id"])
        return model_log is None or payload["seq"] + or_same > model_log.snapshot["seq"]

    def _is_queued(self, model_id: str) -> bool:
        model_log = self._logs.find(model_id)
        return model_log is not None and model_log.snapshot["state"] == State.QUEUED

    def _note_silent(self, model_log: ModelLog) -> None:
        for hook in self.on_silent:
            hook(model_log.snapshot)

    def _running(self, model_id: str) -> tuple[_OpenLoad, Tracker]:
        load = self._open.get(model_id)
        if load is None or load.tracker is None:
            raise LookupError("no load of this model is running")
        return load, load.tracker

    def _final_state(self, model_id: str) -> Mapping[str, object]:
        """The last state of the running load, after emitting what was held back; empty if it only waited."""
        load = self._open[model_id]
        if load.tracker is None:
            return {}
        now = self._clock()
        self._publish_progress(model_id, load.load_id, load.tracker.flush(now))
        load.tracker.finish(now)
        return {**load.tracker.state(now), "eta": None, "stalled_for": None, "rate": None}

    def _publish_progress(self, model_id: str, load_id: str, states: list[ProgressState]) -> None:
        for state in states:
            self._publish(EventName.PROGRESS, model_id, load_id, State.LOADING, state)

    def _end(
        self,
        name: EventName,
        model_id: str,
        state: State,
        changes: Mapping[str, object],
        extras: Mapping[str, object],
        record: Record,
    ) -> Snapshot:
        load = self._open.pop(model_id)
        timeline = None if load.tracker is None else load.tracker.timeline(self._clock())
        return self._publish(
            name, model_id, load.load_id, state, changes, extras, lambda payload: record(payload, timeline)
        )

    def _publish(
        self,
        name: EventName,
        model_id: str,
        load_id: str,
        state: State,
        changes: Mapping[str, object],
        extras: Mapping[str, object] | None = None,
        record: Callable[[Snapshot], None] = lambda payload: None,
    ) -> Snapshot:
        """Build an event over the absent state, keep it as the snapshot, emit it. Never raises."""
        model_log = self.log_of(model_id)
        last = model_log.snapshot
        identity = {"load_id": load_id, "seq": last["seq"] + 1, "state": state}
        where = {"node": last["node"], "placement": last["placement"]} if last["load_id"] == load_id else {}
        fields: dict[str, object] = {**absent(model_id, self.epoch), **identity, **where, **changes}
        try:
            payload = check_event({**fields, **(extras or {})})
        except ValidationError as error:
            self._reject(f"{name} of {model_id}", error)
            bad = set(error.messages) if isinstance(error.messages, dict) else set()
            fields |= {key: value for key, value in (extras or {}).items() if key not in bad}
            payload = cast(Snapshot, fields)
        record(payload)
        model_log.append(name, payload)
        self._send(name, payload)
        if state not in ACTIVE:
            model_log.pack()
        return payload

    def _send(self, name: EventName, payload: Snapshot) -> None:
        try:
            self._emit(name, payload, [room_of(payload["id"]), DASHBOARD_ROOM])
        except Exception as error:
            extra = {"load_id": payload["load_id"], "model": payload["id"]}
            log.warning("%s of %s could not be emitted: %s", name, payload["id"], error, extra=extra)

    def _reject(self, what: str, error: Exception) -> None:
        self.rejected += 1
        log.warning("%s was rejected: %s", what, error)
