"""What is counted of loads for /metrics, from the events that the server sends anyway."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from modelhub.checkpoints import TOTAL_STEPS
from modelhub.core.unloading import DRAIN_OF, IDLE_FOR, KEEP_ALIVE, ROOM_FOR
from modelhub.errors import FAILURES
from modelhub.payloads import Snapshot
from modelhub.states import EventName, Outcome, State

# The codes of requests that are refused before there is a load, of predictions, and of the start.
NOT_OF_LOADS = frozenset(
    (
        *("invalid_id", "invalid_request", "some_refused", "form_expired", "unknown_load", "unauthorized"),
        *("forbidden", "too_many_requests", "unknown_host", "cross_site", "not_found", "method_not_allowed"),
        *("wrong_state", "too_large", "in_use", "quarantined", "queue_full", "shutting_down", "own_folder"),
        *("no_files", "cannot_delete", "bad_inputs", "prediction_failed"),
        *("prediction_timeout", "unknown_prediction", "too_busy", "bad_setting", "token_missing"),
        *("already_running", "port_taken", "newer_journal", "server_unreachable", "journal_unavailable"),
        *("insecure", "journal_set_aside"),
    )
)
# A load that the end of the server interrupts has an outcome of its own.
FAILED_CODES = tuple(code for code in FAILURES if code not in (*NOT_OF_LOADS, Outcome.INTERRUPTED))
_BYTES_OF_STEP = {2: "fetched", 3: "fetched", 5: "read", 7: "moved"}
REASONS = ("request", "idle", "keep_alive", "room", "drain", Outcome.FAILED.value)
_ENDS = {
    EventName.COMPLETED: Outcome.COMPLETED,
    EventName.FAILED: Outcome.FAILED,
    EventName.CANCELLED: Outcome.CANCELLED,
}
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)


@dataclass(slots=True)
class _Open:
    """A load that has not ended: when it came, and how many bytes of which step were counted."""

    load_id: str | None
    came_at: float
    step: int = 0
    done: int = 0


class LoadCounts:
    """Give each event to ``take``; of any thread, as long as those of one model come one by one."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: dict[str, _Open] = {}
        self._loads = Counter(
            "modelhub_loads",
            "Loads that have ended; code is that of the error of those that failed.",
            ("outcome", "code"),
            registry=registry,
        )
        self._seconds = Histogram(
            "modelhub_load_seconds",
            "How long loads took from their start to ready.",
            registry=registry,
            buckets=_SECONDS,
        )
        self._step_seconds = Histogram(
            "modelhub_load_step_seconds",
            "How long each of the nine steps of loads took, those of loads that ended early too.",
            ("step",),
            registry=registry,
            buckets=_SECONDS,
        )
        self._wait_seconds = Histogram(
            "modelhub_load_wait_seconds",
            "How long loads waited in the queue before they began.",
            registry=registry,
            buckets=_SECONDS,
        )
        self._bytes = Counter(
            "modelhub_load_bytes",
            "Bytes that loads have fetched, read into memory, or moved to another device.",
            ("kind",),
            registry=registry,
        )
        self._unloads = Counter(
            "modelhub_unloads", "Models that have left memory, by why.", ("reason",), registry=registry
        )
        oldest = Gauge(
            "modelhub_queue_oldest_seconds",
            "How long the load has waited that waits longest; 0 where none waits.",
            registry=registry,
        )
        oldest.set_function(self._oldest_s)
        self._make_all()

    def take(self, name: EventName, payload: Snapshot) -> None:
        """Count one event."""
        if name == EventName.UNLOADED:
            self._unloads.labels(_reason(payload)).inc()
        elif name in _ENDS:
            self._end(_ENDS[name], payload)
        elif name in (EventName.QUEUED, EventName.STARTED, EventName.PROGRESS):
            self._go_on(name, payload)

    def _go_on(self, name: EventName, payload: Snapshot) -> None:
        model_id, step, done = payload["id"], payload["step"] or 0, payload["done"] or 0
        one = self._open.get(model_id)
        if one is None or one.load_id != payload["load_id"]:
            one = self._open[model_id] = _Open(payload["load_id"], self._clock())
        if name == EventName.STARTED:
            self._wait_seconds.observe(self._clock() - one.came_at)
            one.came_at = float("inf")  # it waits no longer
        kind = _BYTES_OF_STEP.get(step) if payload["unit"] == "bytes" else None
        if kind is None:
            return
        if one.step != step:
            # What was fetched earlier is there when the step begins; of what is read, all counts.
            one.step, one.done = step, done if kind == "fetched" else 0
        if done > one.done:
            self._bytes.labels(kind).inc(done - one.done)
            one.done = done

    def _end(self, outcome: Outcome, payload: Snapshot) -> None:
        self._open.pop(payload["id"], None)
        if payload["state"] == State.INTERRUPTED:
            outcome = Outcome.INTERRUPTED
        error = payload["error"] if outcome == Outcome.FAILED else None
        self._loads.labels(outcome.value, error["code"] if error is not None else "").inc()
        for number, seconds in enumerate(payload["steps"], 1):
            if seconds is not None:
                self._step_seconds.labels(str(number)).observe(seconds)
        if outcome == Outcome.COMPLETED:
            self._seconds.observe(payload.get("seconds") or 0.0)

    def _oldest_s(self) -> float:
        now = self._clock()
        return max([0.0, *(now - one.came_at for one in list(self._open.values()))])

    def _make_all(self) -> None:
        """Have every series exist before its first event: a rate over one that appears has lost that."""
        for outcome in (Outcome.COMPLETED, Outcome.CANCELLED, Outcome.INTERRUPTED):
            self._loads.labels(outcome.value, "")
        for code in FAILED_CODES:
            self._loads.labels(Outcome.FAILED.value, code)
        for step in range(1, TOTAL_STEPS + 1):
            self._step_seconds.labels(str(step))
        for kind in _BYTES_OF_STEP.values():
            self._bytes.labels(kind)
        for reason in REASONS:
            self._unloads.labels(reason)


def _reason(payload: Snapshot) -> str:
    """Why a model has left memory, of ``REASONS``."""
    by = payload.get("by") or ""
    if payload["error"] is not None:
        return Outcome.FAILED.value
    beginnings = {IDLE_FOR: "idle", KEEP_ALIVE: "keep_alive", ROOM_FOR: "room", DRAIN_OF: "drain"}
    return next((reason for begin, reason in beginnings.items() if by.startswith(begin)), "request")
