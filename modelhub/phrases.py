"""A snapshot in words, for pages and terminal. static/live.js says the same, as a test makes sure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from modelhub import words
from modelhub.checkpoints import TOTAL_STEPS

STATES = {
    "absent": "Not loaded",
    "queued": "Queued",
    "loading": "Loading",
    "ready": "Ready",
    "failed": "Failed",
    "cancelled": "Cancelled",
    "unloading": "Unloading",
    "interrupted": "Interrupted",
    "unloaded": "Unloaded",
}
PHASES = {
    "initialization": "Initialization",
    "loading_model": "Loading model",
    "device_setup": "Device setup",
    "optimization": "Optimization",
}
ASKERS = {
    "page": "from a page",
    "rest": "over the API",
    "cli": "from the command line",
    "preload": "by the preload list",
}
SOURCES = {
    "folder": "models folder",
    "cache": "Hugging Face cache",
    "hub": "Hugging Face hub",
    "demo": "made on this machine",
}
UNDER_WAY = ("queued", "loading", "unloading")


def describe(snapshot: dict[str, Any]) -> dict[str, str]:
    """What a page says of a snapshot, by the name of the place where it is said; empty where nothing is."""
    active = snapshot["state"] == "loading"
    counted = words.amount(snapshot["done"], snapshot["size"], snapshot["unit"]) if active else ""
    pace = words.rate(snapshot["rate"]) if active and snapshot["rate"] is not None else ""
    left = words.time_left(snapshot["eta"]) if active else ""
    percent = _percent(snapshot)
    step = f"Step {snapshot['step']} of {TOTAL_STEPS}" if snapshot["step"] and active else ""
    spoken = (percent, step, snapshot["message"] if active else "", counted, left)
    return {
        "state": STATES[snapshot["state"]],
        "headline": _headline(snapshot),
        "percent": percent,
        "step": step,
        "line": _line(snapshot) if not active else " · ".join(filter(None, (counted, pace, left))),
        "stalled": _stalled(snapshot),
        "amount": counted or "–",
        "rate": pace or "–",
        "elapsed": words.duration(snapshot["elapsed"]) if snapshot["elapsed"] is not None else "–",
        "left": left.removeprefix("time left ").removesuffix(" left") or "–",
        "detail": snapshot["detail"] or "" if active else "",
        "spoken": ", ".join(filter(None, spoken)) or STATES[snapshot["state"]],
        "code": snapshot["error"]["code"] if snapshot["error"] else "",
    }


def step_states(snapshot: dict[str, Any]) -> list[str]:
    """Of each of the nine steps: done, running, failed, stopped or waiting; empty while there is no load."""
    state, step = snapshot["state"], snapshot["step"]
    if state in ("ready", "unloading"):
        return ["done"] * TOTAL_STEPS
    if step is None:
        return ["waiting" if state == "queued" else ""] * TOTAL_STEPS
    here = {"loading": "running", "failed": "failed", "cancelled": "stopped"}.get(state, "")
    return ["done" if n < step else here if n == step else "waiting" for n in range(1, TOTAL_STEPS + 1)]


def step_times(snapshot: dict[str, Any]) -> list[str]:
    """How long each step took; the running one, how long it has been running so far."""
    times = list(snapshot["steps"])
    if snapshot["state"] == "loading" and snapshot["step"]:
        times[snapshot["step"] - 1] = snapshot["elapsed"] - sum(s or 0 for s in times)
    return ["–" if seconds is None else words.duration(seconds) for seconds in times]


def facts(snapshot: dict[str, Any]) -> list[tuple[str, str]]:
    """What is known of a ready model, as pairs of name and words."""
    rows = (
        ("Architecture", snapshot.get("architecture")),
        ("Task", snapshot.get("task")),
        ("Parameters", words.count(snapshot.get("parameters"))),
        ("Data type", snapshot.get("dtype")),
        ("Device", snapshot.get("device")),
        ("Weights", words.size(snapshot.get("bytes"))),
        ("Memory it took", words.size(snapshot.get("memory"))),
        ("Loaded in", words.duration(snapshot.get("seconds"))),
        ("From", SOURCES.get(snapshot.get("source", ""), snapshot.get("source"))),
        ("Revision", snapshot.get("revision")),
        ("Files", snapshot.get("files")),
        ("Tensors left out", snapshot.get("unused_tensors") or None),
    )
    return [(name, str(value)) for name, value in rows if value not in (None, "", "unknown")]


def moment(seconds: float | None) -> str:
    """``moment(0)`` is ``"1970-01-01 00:00:00 UTC"``; None is an en dash."""
    return "–" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def stamp(seconds: float) -> str:
    """A moment for machines, as ``<time datetime>`` takes it: ``stamp(0)`` is ``"1970-01-01T00:00:00Z"``."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _percent(snapshot: dict[str, Any]) -> str:
    if snapshot["state"] != "loading" or snapshot["progress"] is None:
        return ""
    return f"{min(int(snapshot['progress'] * 100), 99)}%"


def _headline(snapshot: dict[str, Any]) -> str:
    state, position = snapshot["state"], snapshot["queue_position"]
    if state == "queued":
        return f"Number {position} in line" if position and position > 1 else "Next in line"
    if state == "loading":
        return snapshot["message"] or "Starting"
    if state == "failed":
        return str(snapshot["error"]["message"]) if snapshot["error"] else "The load failed."
    if state == "cancelled":
        return f"Cancelled {ASKERS.get(snapshot.get('by') or '', '')}".strip()
    return {"ready": "Ready to use", "unloading": "Leaving memory"}.get(state, "Not in memory")


def _line(snapshot: dict[str, Any]) -> str:
    state = snapshot["state"]
    if state == "queued":
        return "It starts by itself when its turn comes."
    if state == "failed":
        return str(snapshot["error"]["hint"]) if snapshot["error"] else ""
    if state == "cancelled":
        if not snapshot["step"]:
            return "It had not begun."
        return f"At step {snapshot['step']} of {TOTAL_STEPS}, after {words.duration(snapshot['elapsed'])}."
    if state == "ready":
        told = (f"in {words.duration(snapshot.get('seconds'))}", words.size(snapshot.get("bytes")))
        return " · ".join(filter(None, (*told, snapshot.get("device"), snapshot.get("dtype"))))
    if state == "absent" and snapshot.get("freed") is not None:
        before, after = words.size(snapshot["memory_before"]), words.size(snapshot["memory_after"])
        freed, by = words.size(snapshot["freed"]), ASKERS.get(snapshot["by"], "")
        return f"Unloaded {by}: {freed} freed ({before} before, {after} after)."
    return ""


def _stalled(snapshot: dict[str, Any]) -> str:
    if snapshot["stalled_for"] is None or snapshot["state"] != "loading":
        return ""
    silent = words.duration(snapshot["stalled_for"])
    return f"Nothing new for {silent}. It may be a slow disk or network; the load goes on."
