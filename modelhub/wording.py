"""A snapshot in words, for pages and terminal: the one place where they are made."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from modelhub import units
from modelhub.checkpoints import TOTAL_STEPS
from modelhub.core.budget import Ledger
from modelhub.demos import DEMOS
from modelhub.progress.trace import lasting_detail

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
_UNVERSIONED = ("folder", "demo")
_LOCAL = "none: files of this machine"
_FETCH_STEP = 3
_DISK_STEPS = (2, 3, 4, 5)  # processor, cache, headers, weights
_ATTENTION = ("loading", "unloading", "queued", "failed", "interrupted", "cancelled", "ready", "absent")


def with_words(snapshot: dict[str, Any]) -> dict[str, Any]:
    """The snapshot as pages get it: ``said`` has everything that they say of it."""
    return {**snapshot, "said": tell(snapshot)}


def tell(snapshot: dict[str, Any]) -> dict[str, Any]:
    """What ``describe`` says, and what else a page shows: steps, buttons, its place among the others."""
    return {
        **describe(snapshot),
        "steps": step_states(snapshot),
        "times": step_times(snapshot),
        "actions": actions(snapshot),
        "kind": kind(snapshot),
        "rank": rank(snapshot),
        "news": _news(snapshot),
        "entry": entry(snapshot),
    }


def rank(snapshot: dict[str, Any]) -> int:
    """Its place by what needs attention: the smaller, the sooner."""
    return _ATTENTION.index(kind(snapshot))


def kind(snapshot: dict[str, Any]) -> str:
    """Its state; ``interrupted`` where it is absent because the server stopped while it was loading."""
    state: str = snapshot["state"]
    return "interrupted" if state == "absent" and snapshot["error"] else state


def actions(snapshot: dict[str, Any]) -> list[str]:
    """The buttons that make sense now."""
    state, error = snapshot["state"], snapshot["error"]
    if state == "failed":
        return ["retry", "force"] if error and error["code"] == "no_memory" else ["retry"]
    found = {
        "absent": "load",
        "cancelled": "load",
        "queued": "cancel",
        "loading": "cancel",
        "ready": "unload",
    }
    return [found[state]] if state in found else []


def describe(snapshot: dict[str, Any]) -> dict[str, str]:
    """What a page says of a snapshot, by the name of the place where it is said; empty where nothing is."""
    active = snapshot["state"] == "loading"
    counted = units.amount(snapshot["done"], snapshot["size"], snapshot["unit"]) if active else ""
    pace = units.rate(snapshot["rate"]) if active and snapshot["rate"] is not None else ""
    left = units.time_left(snapshot["eta"]) if active else ""
    percent = _percent(snapshot)
    step = f"Step {snapshot['step']} of {TOTAL_STEPS}" if snapshot["step"] and active else ""
    spoken = (percent, step, snapshot["message"] if active else "", counted, left)
    return {
        "state": STATES[kind(snapshot)],
        "headline": _headline(snapshot),
        "percent": percent,
        "step": step,
        "line": _line(snapshot) if not active else " · ".join(filter(None, (counted, pace, left))),
        "stalled": _stalled(snapshot),
        "amount": counted or "–",
        "rate": pace or "–",
        "elapsed": units.duration(snapshot["elapsed"]) if snapshot["elapsed"] is not None else "–",
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
    return ["–" if seconds is None else units.duration(seconds) for seconds in times]


def facts(snapshot: dict[str, Any]) -> list[tuple[str, str]]:
    """What is known of a ready model, as pairs of name and words."""
    is_unversioned = snapshot.get("source") in _UNVERSIONED
    rows = (
        ("Architecture", snapshot.get("architecture")),
        ("Task", snapshot.get("task")),
        ("Parameters", units.count(snapshot.get("parameters"))),
        ("Data type", snapshot.get("dtype")),
        ("Device", snapshot.get("device")),
        ("Weights", units.size(snapshot.get("bytes"))),
        ("Memory it took", units.size(snapshot.get("memory"))),
        ("Loaded in", units.duration(snapshot.get("seconds"))),
        ("From", SOURCES.get(snapshot.get("source", ""), snapshot.get("source"))),
        (
            "Revision",
            _LOCAL if is_unversioned else snapshot.get("revision"),
        ),
        ("Weight files", snapshot.get("files")),
        ("Tensors left out", snapshot.get("unused_tensors") or None),
    )
    return [(name, str(value)) for name, value in rows if value not in (None, "", "unknown")]


def need(need_bytes: int | None, free_bytes: int) -> str:
    """``"needs 1.2 GB, fits"``, or ``"needs 141 GB, 9.4 GB free: does not fit"``; empty where not known."""
    if need_bytes is None:
        return ""
    fits = "fits" if need_bytes <= free_bytes else f"{units.size(free_bytes)} free: does not fit"
    return f"needs {units.size(need_bytes)}, {fits}"


def memory(ledger: Ledger) -> list[tuple[str, float, str]]:
    """The parts of the memory, as (kind, share of the whole, words); what is nothing is left out."""
    names = {
        "models": f"in {_count(ledger.model_count, 'model')}",
        "loading": f"for {_count(ledger.load_count, 'load')} under way",
        "other": "in other programs",
        "free": "free",
    }
    sizes = {kind: getattr(ledger, kind) for kind in names}
    shown = {kind: size for kind, size in sizes.items() if size or kind == "free"}
    whole = max(ledger.total, 1)
    return [(kind, size / whole, f"{units.size(size)} {names[kind]}") for kind, size in shown.items()]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def entry(snapshot: dict[str, Any]) -> str:
    """The snapshot as a line of the log: the same words until something new happens."""
    if snapshot["state"] == "loading":
        if snapshot["stalled_for"] is not None:
            return f"Stalled. {_cause(snapshot)}"
        told = f"Step {snapshot['step']} of {TOTAL_STEPS}: {snapshot['message']}"
        return " ".join(filter(None, (told, lasting_detail(snapshot))))
    if snapshot["state"] == "absent":
        return _line(snapshot)
    return f"{_headline(snapshot).removesuffix('.')}. {_line(snapshot)}".strip()


def plan(plan: dict[str, Any]) -> str:
    """What a load would bring: ``"Hugging Face hub: 2.2 GB in 12 files to fetch; needs 2.2 GB, fits."``."""
    where = SOURCES[plan["source"]]
    left, size = plan["fetch_bytes"], units.size(plan["size_bytes"])
    if plan["source"] == "demo":
        what = f"{size} of random weights, nothing to fetch"
    elif not plan["fetch_files"]:
        what = f"{_count(plan['files'], 'file')}, nothing to fetch"
    else:
        what = f"{units.size(left)} in {_count(plan['fetch_files'], 'file')} to fetch"
    return f"{where[0].upper()}{where[1:]}: {what}; {need(plan['size_bytes'], plan['free_bytes'])}."


def throughput(rates: Sequence[tuple[float, float | None]]) -> str:
    """The highest rate of a load, in words."""
    known = [rate for _, rate in rates if rate is not None]
    return units.rate(max(known)) if known else ""


def last_time(seconds: float | None) -> str:
    """``"last time 1.4 s"``; empty where there was none."""
    return "" if seconds is None else f"last time {units.duration(seconds)}"


def moment(seconds: float | None) -> str:
    """``moment(0)`` is ``"1970-01-01 00:00:00 UTC"``; None is an en dash."""
    return "–" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _news(snapshot: dict[str, Any]) -> str:
    """What is announced: each phase and each state once."""
    phase = PHASES.get(snapshot["phase"] or "", "") if snapshot["state"] == "loading" else _headline(snapshot)
    return f"{snapshot['id']}: {phase}" if phase else ""


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
    if snapshot["error"]:
        return str(snapshot["error"]["message"])
    if state == "failed":
        return "The load failed."
    if state == "cancelled":
        return f"Cancelled {ASKERS.get(snapshot.get('by') or '', '')}".strip()
    return {"ready": "Ready to use", "unloading": "Leaving memory"}.get(state, "Not in memory")


def _line(snapshot: dict[str, Any]) -> str:
    state = snapshot["state"]
    if state == "queued":
        return "It starts by itself when its turn comes."
    if snapshot["error"]:
        return str(snapshot["error"]["hint"])
    if state == "cancelled":
        if not snapshot["step"]:
            return "It had not begun."
        return f"At step {snapshot['step']} of {TOTAL_STEPS}, after {units.duration(snapshot['elapsed'])}."
    if state == "ready":
        told = (f"in {units.duration(snapshot.get('seconds'))}", units.size(snapshot.get("bytes")))
        return " · ".join(filter(None, (*told, snapshot.get("device"), snapshot.get("dtype"))))
    if state == "absent" and snapshot.get("freed") is not None:
        before, after = units.size(snapshot["memory_before"]), units.size(snapshot["memory_after"])
        freed, by = units.size(snapshot["freed"]), ASKERS.get(snapshot["by"], "")
        return f"Unloaded {by}: {freed} freed ({before} before, {after} after)."
    return ""


def _stalled(snapshot: dict[str, Any]) -> str:
    if snapshot["stalled_for"] is None or snapshot["state"] != "loading":
        return ""
    return f"Nothing new for {units.duration(snapshot['stalled_for'])}. {_cause(snapshot)} The load goes on."


def _cause(snapshot: dict[str, Any]) -> str:
    """What is likely slow at the step where nothing moves."""
    step, is_demo = snapshot["step"], snapshot.get("id") in DEMOS
    fetches = step == _FETCH_STEP and snapshot["unit"] == "bytes" and not is_demo
    if fetches or "hub" in (snapshot["detail"] or ""):
        return "It is fetching: most likely the network or the hub is slow."
    if step in _DISK_STEPS:
        return "It is at its files: most likely the disk is slow."
    return "It is computing: most likely the processor is busy."
