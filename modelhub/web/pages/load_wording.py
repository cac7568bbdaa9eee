"""One load of the journal in words, for the pages of loads: phrases.py for what is over."""

from __future__ import annotations

from typing import Any

from modelhub import units
from modelhub.checkpoints import TOTAL_STEPS, describe_step
from modelhub.core.statistics import ModelFigures, mean_rate, outcome_of
from modelhub.wording import ASKERS, SOURCES, moment

_WORTH_TELLING_S = 0.05
OUTCOMES = {
    "completed": "Completed",
    "failed": "Failed",
    "cancelled": "Cancelled",
    "interrupted": "Interrupted",
    "running": "Under way",
}


def outcome(load: dict[str, Any]) -> str:
    """How it came out, in one word."""
    if load["state"] == "queued":
        return "Queued"
    return OUTCOMES[outcome_of(load["state"])]


def ending(load: dict[str, Any], last_step: int | None) -> str:
    """How it ended, in a sentence or two; ``last_step`` is the last that began."""
    state = load["state"]
    after = "" if load["seconds"] is None else f" after {units.duration(load['seconds'])}"
    at = f", in step {last_step} of {TOTAL_STEPS}" if last_step else ""
    if state in ("ready", "unloaded"):
        now = "It is in memory." if state == "ready" else "It has left memory since."
        return f"Ready in {units.duration(load['seconds'])}. {now}"
    if state == "failed":
        return f"Failed{after}{at}."
    if state == "cancelled":
        by = ASKERS.get(load["ended_by"] or "", "")
        while_waiting = "" if last_step or load["started_at"] else " while it waited in line"
        return " ".join(filter(None, ("Cancelled", by))) + f"{while_waiting}{after}{at}."
    if state == "interrupted":
        return f"Interrupted{after}{at}."
    return "It waits in line." if state == "queued" else f"It is loading{at}."


def figures(load: dict[str, Any]) -> list[tuple[str, str]]:
    """What counts most and is known, as pairs of name and words."""
    so_far = (load["snapshot"] or {}).get("elapsed") if load["seconds"] is None else None
    rows = (
        ("So far", units.duration(so_far)),
        ("Took", units.duration(load["seconds"])),
        ("Weights", units.size(load["bytes"])),
        ("Mean rate", units.rate(mean_rate(load["bytes"], load["seconds"]))),
        ("Memory it took", units.size(load["memory"])),
    )
    return [(name, value) for name, value in rows if value != "unknown"]


def facts(load: dict[str, Any]) -> list[tuple[str, str]]:
    """What else is known of it, as pairs of name and words."""
    waited = None if load["started_at"] is None else load["started_at"] - load["requested_at"]
    rows = (
        ("Asked for", f"{moment(load['requested_at'])}, {ASKERS.get(load['by'], load['by'])}"),
        ("Waited in line", units.duration(waited) if waited and waited >= _WORTH_TELLING_S else None),
        ("Began", moment(load["started_at"]) if load["started_at"] else None),
        ("Ended", moment(load["ended_at"]) if load["ended_at"] else None),
        ("From", SOURCES.get(load["source"] or "", load["source"])),
        ("Revision", load["revision"]),
        ("Architecture", load["architecture"]),
        ("Parameters", units.count(load["parameters"]) if load["parameters"] else None),
        ("Data type", load["dtype"]),
        ("Device", load["device"]),
        ("Load id", load["load_id"]),
    )
    return [(name, value) for name, value in rows if value]


def counted(series: dict[str, Any]) -> str:
    """Bytes over time in one step: where they began and ended, and how fast they came."""
    began, ended = series["at"][0], series["at"][-1]
    first, last = series["bytes"][0], series["bytes"][-1]
    text = f"Step {series['step']}, {describe_step(series['step']).message.rstrip('.')}: "
    if last == first:
        return f"{text}{units.size(last)}, counted at once at {units.fine_duration(began)}."
    rate = units.rate((last - first) / (ended - began))
    span = f"from {units.fine_duration(began)} to {units.fine_duration(ended)}"
    return f"{text}{units.size(first)} to {units.size(last)}, {span}; {rate} on average."


def stall(one: dict[str, Any]) -> str:
    """A time in which nothing was heard of the load."""
    message = describe_step(one["step"]).message.rstrip(".")
    took, at = units.fine_duration(one["seconds"]), units.fine_duration(one["at"])
    return f"Stalled for {took} from {at} on, in step {one['step']} ({message})."


def row(load: dict[str, Any]) -> dict[str, str]:
    """The figures of a load in a list of loads."""
    return {
        "outcome": outcome(load),
        "took": _or_dash(load["seconds"], units.duration),
        "weights": _or_dash(load["bytes"], units.size),
        "rate": _or_dash(mean_rate(load["bytes"], load["seconds"]), units.rate),
        "by": ASKERS.get(load["by"], load["by"]),
    }


def model_row(model: ModelFigures) -> dict[str, str]:
    """The figures of a model in a list of models."""
    decided = model.completed + model.failed + model.interrupted
    return {
        "loads": units.count(model.loads),
        "success": _or_dash(model.success_rate, units.share),
        "of": f"{model.completed:,} of {decided:,}" if decided else "",
        "median": _or_dash(model.seconds_median, units.duration),
        "p90": _or_dash(model.seconds_p90, units.duration),
        "rate": _or_dash(model.rate_median, units.rate),
    }


def _or_dash(value: Any, say: Any) -> str:
    return "–" if value is None else str(say(value))
