"""A model's state as one line of the terminal, in the words that the pages use."""

from __future__ import annotations

from typing import Any

from modelhub import units
from modelhub.checkpoints import TOTAL_STEPS
from modelhub.wording import STATES, describe

_WHOLE: dict[str, Any] = {
    **dict.fromkeys(("load_id", "step", "message", "done", "size", "unit", "rate", "detail", "progress")),
    **dict.fromkeys(("elapsed", "eta", "stalled_for", "error", "queue_position")),
}


def now(payload: dict[str, Any]) -> str:
    """``"Step 5 of 9: Loading model weights... · 734 of 1192 MB · 810 MB/s · about 3 s left"``."""
    if payload["state"] != "loading":
        return headline(payload)
    return " · ".join(filter(None, (step(payload), inside(payload))))


def step(payload: dict[str, Any]) -> str:
    """``"Step 5 of 9: Loading model weights..."``; what else is said of a load that is not loading."""
    if payload["state"] != "loading":
        return headline(payload)
    return f"Step {payload['step']} of {TOTAL_STEPS}: {payload['message']}" if payload["step"] else "Starting"


def inside(payload: dict[str, Any]) -> str:
    """How far the running step is: bytes, rate and time left, each where it is known."""
    parts = [
        units.amount(payload["done"], payload["size"], payload["unit"]),
        "" if payload["rate"] is None else units.rate(payload["rate"]),
        "" if payload["eta"] is None else units.time_left(payload["eta"]),
    ]
    return " · ".join(filter(None, parts))


def stalled(payload: dict[str, Any]) -> str:
    """That nothing has come for a while; empty while something comes."""
    return describe({**_WHOLE, **payload})["stalled"]


def headline(payload: dict[str, Any]) -> str:
    """The state in a few words: ``"Next in line"``, ``"Leaving memory"``."""
    return describe({**_WHOLE, **payload})["headline"]


def ending(end: dict[str, Any]) -> str:
    """How a load ended, with the reason where it did not end well."""
    whole = {**_WHOLE, **end}
    state = whole["state"]
    if state == "ready":
        took = "Ready already, loaded in" if whole.get("was_ready") else "Ready in"
        parts = (f"{took} {units.duration(end.get('seconds'))}", units.size(end.get("bytes")))
        return " · ".join(filter(None, (*parts, end.get("device"), end.get("dtype"))))
    if state == "cancelled":
        told = describe(whole)
        return f"{told['headline']}. {told['line']}"
    if state == "absent":
        return receipt(whole)
    if state == "unloaded":
        return "It was ready, and has been unloaded since."
    where = f" at step {whole['step']} of {TOTAL_STEPS}" if whole["step"] else ""
    return f"{STATES.get(state, state)}{where}: {failure(whole)}"


def accepted(load: dict[str, Any]) -> str:
    """What a server made of the wish for a load: ``"Asked for: Queued"``, ``"Ready already"``."""
    return "Ready already" if load["state"] == "ready" else f"Asked for: {STATES[load['state']]}"


def failure(payload: dict[str, Any]) -> str:
    """A failure's reason and what to do about it."""
    error = payload["error"] or {"message": "The load failed.", "hint": ""}
    return f"{error['message']} {error['hint']}".strip()


def receipt(unloaded: dict[str, Any]) -> str:
    """``"unloaded: 1.3 GB freed"``."""
    freed = unloaded.get("freed")
    told = "" if freed is None else f": {units.size(freed)} freed"
    return f"unloaded{told}"
