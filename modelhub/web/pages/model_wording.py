"""What the pages of models say beyond modelhub.wording: steps, buttons, log lines, facts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelhub import units
from modelhub.checkpoints import TOTAL_STEPS
from modelhub.payloads import ModelResource, Snapshot
from modelhub.progress.trace import lasting_detail
from modelhub.states import State, StepStatus
from modelhub.wording import (
    PHASE_NAMES,
    SOURCE_NAMES,
    STATE_NAMES,
    UNKNOWN,
    Description,
    describe,
    headline,
    line,
    rank,
    stall_cause,
)

_UNVERSIONED = ("folder", "demo")
_STATUS_OF_LAST_STEP = {
    State.LOADING: StepStatus.RUNNING,
    State.FAILED: StepStatus.FAILED,
    State.CANCELLED: StepStatus.STOPPED,
    State.INTERRUPTED: StepStatus.STOPPED,
}


class PageWords(Description):
    """Everything that a page says of a snapshot, and what it draws from it."""

    steps: list[StepStatus]
    times: list[str]  # of each step
    actions: list[str]  # the buttons that make sense
    ready: str  # the load in a line, once the model is ready: "Ready in 3.1 s"
    title: str  # before the model's name in the title of the window
    rank: int  # its place in the list
    announcement: str  # for a screen reader: each phase and each state once
    log_line: str


def page_words(snapshot: Snapshot) -> PageWords:
    """What pages say of the snapshot."""
    words, is_ready = describe(snapshot), snapshot["state"] == State.READY
    return {
        **words,
        "steps": step_statuses(snapshot),
        "times": step_times(snapshot),
        "actions": actions(snapshot),
        "ready": f"Ready {line(snapshot)}" if is_ready else "",
        "title": STATE_NAMES[State.READY] if is_ready else words["percent"],
        "rank": rank(snapshot["state"]),
        "announcement": _announcement(snapshot),
        "log_line": log_line(snapshot),
    }


def actions(snapshot: Snapshot) -> list[str]:
    """The buttons that make sense now."""
    error = snapshot["error"]
    match snapshot["state"]:
        case State.FAILED if error and error["code"] == "no_memory":
            return ["retry", "force", "dismiss"]
        case State.FAILED:
            return ["retry", "dismiss"]
        case State.CANCELLED | State.INTERRUPTED:
            return ["load", "dismiss"]
        case State.ABSENT:
            return ["again"] if snapshot.get("freed") is not None else ["load"]
        case State.QUEUED | State.LOADING:
            return ["cancel"]
        case State.READY:
            return ["try", "unload"] if snapshot.get("task") else ["unload"]
    return []


def step_statuses(snapshot: Snapshot) -> list[StepStatus]:
    """The status of each of the nine steps; NONE while there is no load."""
    state, step = snapshot["state"], snapshot["step"]
    if state in (State.READY, State.UNLOADING):
        return [StepStatus.DONE] * TOTAL_STEPS
    if step is None:
        return [StepStatus.WAITING if state == State.QUEUED else StepStatus.NONE] * TOTAL_STEPS
    here = _STATUS_OF_LAST_STEP.get(state, StepStatus.NONE)
    later = StepStatus.WAITING if state == State.LOADING else StepStatus.UNREACHED
    return [StepStatus.DONE if n < step else here if n == step else later for n in range(1, TOTAL_STEPS + 1)]


def step_times(snapshot: Snapshot) -> list[str]:
    """How long each step took; the running one, how long it has been running so far."""
    times = list(snapshot["steps"])
    if snapshot["state"] == State.LOADING and snapshot["step"]:
        times[snapshot["step"] - 1] = (snapshot["elapsed"] or 0.0) - sum(s or 0 for s in times)
    return [UNKNOWN if seconds is None else units.duration(seconds) for seconds in times]


def log_line(snapshot: Snapshot) -> str:
    """The snapshot as a line of the log: the same words until something new happens."""
    if snapshot["state"] == State.LOADING:
        if snapshot["stalled_for"] is not None:
            return f"Stalled. {stall_cause(snapshot)}"
        step = f"Step {snapshot['step']} of {TOTAL_STEPS}: {snapshot['message']}"
        return " ".join(filter(None, (step, lasting_detail(snapshot))))
    if snapshot["state"] == State.ABSENT:
        return line(snapshot)
    more = units.capitalized(line(snapshot))
    return f"{headline(snapshot).removesuffix('.')}. {more}".strip()


def facts(snapshot: Snapshot) -> list[tuple[str, str]]:
    """What is known of a ready model, as pairs of name and words."""
    source = snapshot.get("source", "")
    rows: tuple[tuple[str, Any], ...] = (
        ("Architecture", snapshot.get("architecture")),
        ("Task", snapshot.get("task")),
        ("Parameters", units.count(snapshot.get("parameters"))),
        ("Data type", snapshot.get("dtype")),
        ("Device", snapshot.get("device")),
        ("Weights", units.size(snapshot.get("bytes"))),
        ("Memory used", units.size(snapshot.get("memory"))),
        ("Loaded in", units.duration(snapshot.get("seconds"))),
        ("Source", SOURCE_NAMES.get(source, source)),
        ("Revision", "none (local files)" if source in _UNVERSIONED else snapshot.get("revision")),
        ("Weight files", snapshot.get("files")),
        ("Unused tensors", snapshot.get("unused_tensors") or None),
    )
    return [(name, str(value)) for name, value in rows if value not in (None, "", "unknown")]


def about(model: ModelResource) -> str:
    """What a model's files are: ``"1.2 GB · models folder"``."""
    if model["partial_bytes"]:
        return f"{units.size(model['partial_bytes'])} of a download so far"
    size = None if model["size_bytes"] is None else units.size(model["size_bytes"])
    is_random = model["random_weights"]
    where = "random weights, for testing only" if is_random else SOURCE_NAMES[model["source"]]
    return " · ".join(filter(None, (size, where)))


def last_time(seconds: float | None) -> str:
    """``"last time 1.4 s"``; empty where there was no load before."""
    return "" if seconds is None else f"last time {units.duration(seconds)}"


def rate_label(rates: Sequence[tuple[float, float | None]]) -> str:
    """The sparkline of a load in words."""
    known = [rate for _, rate in rates if rate is not None]
    return f"Rate since the start, at most {units.rate(max(known))}" if known else "No rate yet"


def _announcement(snapshot: Snapshot) -> str:
    if snapshot["state"] == State.LOADING:
        text = PHASE_NAMES.get(snapshot["phase"] or "", "")
    else:
        text = headline(snapshot)
    return f"{snapshot['id']}: {text}" if text else ""
