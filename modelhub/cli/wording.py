"""A model's state as one line of the terminal, in the words of the pages."""

from __future__ import annotations

from typing import cast

from modelhub import units
from modelhub.checkpoints import TOTAL_STEPS
from modelhub.cli.loads import Ending
from modelhub.payloads import LoadResource, Snapshot
from modelhub.placement_wording import on_node
from modelhub.progress.log import absent
from modelhub.states import State
from modelhub.wording import STATE_NAMES, activity, describe, headline, time_left


def now(snapshot: Snapshot) -> str:
    """``"Step 5 of 9: Loading model weights... · 734 of 1192 MB · 810 MB/s · about 3 s left"``."""
    if snapshot["state"] != State.LOADING:
        return headline(snapshot)
    return " · ".join(filter(None, (step(snapshot), within_step(snapshot))))


def step(snapshot: Snapshot) -> str:
    """``"Step 5 of 9: Loading model weights..."``; the headline of a model that is not loading."""
    if snapshot["state"] != State.LOADING:
        return headline(snapshot)
    if not snapshot["step"]:
        return "Starting"
    return f"Step {snapshot['step']} of {TOTAL_STEPS}: {snapshot['message']}"


def within_step(snapshot: Snapshot) -> str:
    """What the running step does, bytes, rate and time left, each where it is known."""
    amount, doing = units.amount(snapshot["done"], snapshot["size"], snapshot["unit"]), activity(snapshot)
    parts = [
        doing,
        "" if amount in doing else amount,
        "" if snapshot["rate"] is None else units.rate(snapshot["rate"]),
        "" if snapshot["eta"] is None else time_left(snapshot),
    ]
    return " · ".join(filter(None, parts))


def stalled(snapshot: Snapshot) -> str:
    """That there has been no progress for a while; empty while there is."""
    return describe(snapshot)["stalled"]


def ending(end: Ending) -> str:
    """How a load ended, with the reason where it did not end well."""
    snapshot = cast(Snapshot, {**absent(end["id"], epoch=""), **end})
    state = snapshot["state"]
    if state == State.READY:
        took = "Ready already, loaded in" if end.get("was_ready") else "Ready in"
        parts = (f"{took} {units.duration(end.get('seconds'))}", units.size(end.get("bytes")))
        where = on_node(end.get("node"))
        return " · ".join(filter(None, (*parts, end.get("device"), end.get("dtype"), where)))
    if state == State.CANCELLED:
        words = describe(snapshot)
        return f"{words['headline']}. {words['line']}"
    if state == State.ABSENT:
        return receipt(snapshot)
    if state == State.UNLOADED:
        return "It was ready, and has been unloaded since."
    where = f" at step {snapshot['step']} of {TOTAL_STEPS}" if snapshot["step"] else ""
    where += f" {on_node(snapshot['node'])}" if snapshot["node"] else ""
    return f"{STATE_NAMES[state]}{where}: {failure(snapshot)}"


def accepted(load: LoadResource) -> str:
    """What the server made of a request for a load: ``"Accepted: Queued"``, ``"Ready already"``."""
    return "Ready already" if load["state"] == State.READY else f"Accepted: {STATE_NAMES[load['state']]}"


def failure(snapshot: Snapshot) -> str:
    """The reason of a failure and what to do about it."""
    error = snapshot["error"] or {"message": "The load failed.", "hint": ""}
    return f"{error['message']} {error['hint']}".strip()


def receipt(unloaded: Snapshot) -> str:
    """``"unloaded: 1.3 GB freed"``."""
    freed = unloaded.get("freed")
    return "unloaded" if freed is None else f"unloaded: {units.size(freed)} freed"
