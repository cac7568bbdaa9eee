"""One load of the journal in words, for the pages of loads: phrases.py for what is over."""

from __future__ import annotations

from typing import Any

from modelhub import words
from modelhub.checkpoints import TOTAL_STEPS, describe_step
from modelhub.outcomes import ModelFigures, mean_rate, outcome_of
from modelhub.phrases import ASKERS, SOURCES, moment

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
    after = "" if load["seconds"] is None else f" after {words.duration(load['seconds'])}"
    at = f", in step {last_step} of {TOTAL_STEPS}" if last_step else ""
    if state in ("ready", "unloaded"):
        now = "It is in memory." if state == "ready" else "It has left memory since."
        return f"Ready in {words.duration(load['seconds'])}. {now}"
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
        ("So far", words.duration(so_far)),
        ("Took", words.duration(load["seconds"])),
        ("Weights", words.size(load["bytes"])),
        ("Mean rate", words.rate(mean_rate(load["bytes"], load["seconds"]))),
        ("Memory it took", words.size(load["memory"])),
    )
    return [(name, value) for name, value in rows if value != "unknown"]


def facts(load: dict[str, Any]) -> list[tuple[str, str]]:
    """What else is known of it, as pairs of name and words."""
    waited = None if load["started_at"] is None else load["started_at"] - load["requested_at"]
    rows = (
        ("Asked for", f"{moment(load['requested_at'])}, {ASKERS.get(load['by'], load['by'])}"),
        ("Waited in line", words.duration(waited) if waited and waited >= _WORTH_TELLING_S else None),
        ("Began", moment(load["started_at"]) if load["started_at"] else None),
        ("Ended", moment(load["ended_at"]) if load["ended_at"] else None),
        ("From", SOURCES.get(load["source"] or "", load["source"])),
        ("Revision", load["revision"]),
        ("Architecture", load["architecture"]),
        ("Parameters", words.count(load["parameters"]) if load["parameters"] else None),
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
        return f"{text}{words.size(last)}, counted at once at {words.fine_duration(began)}."
    rate = words.rate((last - first) / (ended - began))
    span = f"from {words.fine_duration(began)} to {words.fine_duration(ended)}"
    return f"{text}{words.size(first)} to {words.size(last)}, {span}; {rate} on average."


def stall(one: dict[str, Any]) -> str:
    """A time in which nothing was heard of the load."""
    message = describe_step(one["step"]).message.rstrip(".")
    took, at = words.fine_duration(one["seconds"]), words.fine_duration(one["at"])
    return f"Stalled for {took} from {at} on, in step {one['step']} ({message})."


def row(load: dict[str, Any]) -> dict[str, str]:
    """The figures of a load in a list of loads."""
    return {
        "outcome": outcome(load),
        "took": _or_dash(load["seconds"], words.duration),
        "weights": _or_dash(load["bytes"], words.size),
        "rate": _or_dash(mean_rate(load["bytes"], load["seconds"]), words.rate),
        "by": ASKERS.get(load["by"], load["by"]),
    }


def model_row(model: ModelFigures) -> dict[str, str]:
    """The figures of a model in a list of models."""
    decided = model.completed + model.failed + model.interrupted
    return {
        "loads": words.count(model.loads),
        "success": _or_dash(model.success_rate, words.share),
        "of": f"{model.completed:,} of {decided:,}" if decided else "",
        "median": _or_dash(model.seconds_median, words.duration),
        "p90": _or_dash(model.seconds_p90, words.duration),
        "rate": _or_dash(model.rate_median, words.rate),
    }


def _or_dash(value: Any, say: Any) -> str:
    return "–" if value is None else str(say(value))
