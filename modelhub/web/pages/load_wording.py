"""One load of the journal in words, for the pages of loads."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from markupsafe import Markup

from modelhub import units
from modelhub.checkpoints import TOTAL_STEPS, describe_step
from modelhub.core.statistics import ModelStatistics, mean_rate
from modelhub.payloads import Forecast, LoadResource, LoadRow, Series, Stall
from modelhub.placement_wording import on_node
from modelhub.states import OUTCOME_OF_STATE, Outcome, State
from modelhub.wording import REQUESTED_BY, SOURCE_NAMES, STATE_NAMES, UNKNOWN, cause_of_unload

Value = TypeVar("Value")
NO_BREAK = "\N{NO-BREAK SPACE}"
_MIN_WAIT_S = 0.05  # a shorter wait in the queue is not worth a line
OUTCOME_NAMES = {
    Outcome.COMPLETED: STATE_NAMES[State.READY],
    Outcome.FAILED: STATE_NAMES[State.FAILED],
    Outcome.CANCELLED: STATE_NAMES[State.CANCELLED],
    Outcome.INTERRUPTED: STATE_NAMES[State.INTERRUPTED],
    Outcome.RUNNING: "Under way",
}


def moment(seconds: float) -> Markup:
    """A time in UTC as an element, which a script of the page turns into the reader's own time."""
    utc = datetime.fromtimestamp(seconds, UTC)
    return Markup('<time datetime="{:%Y-%m-%dT%H:%M:%SZ}">{:%Y-%m-%d %H:%M:%S} UTC</time>').format(utc, utc)


def outcome(load: LoadRow) -> str:
    """How it came out, in a word or two."""
    if load["state"] == State.QUEUED:
        return STATE_NAMES[State.QUEUED]
    return OUTCOME_NAMES[OUTCOME_OF_STATE[load["state"]]]


def why(load: LoadRow) -> str:
    """Why it failed, or why its model has left memory since; empty where there is nothing to add."""
    if load["error"] is not None:
        return load["error"]["message"]
    cause = cause_of_unload(load["ended_by"]) if load["state"] == State.UNLOADED else ""
    return f"Unloaded {cause}" if cause else ""


def ending(load: LoadRow, last_step: int | None) -> str:
    """How it ended, in a sentence or two; ``last_step`` is the last step that began."""
    there = f" {on_node(load['node'])}" if load["node"] else ""
    after = "" if load["seconds"] is None else f" after {units.duration(load['seconds'])}"
    at = f", in step {last_step} of {TOTAL_STEPS}" if last_step else ""
    match load["state"]:
        case State.READY:
            return f"Ready in {units.duration(load['seconds'])}{there}. The model is in memory."
        case State.UNLOADED:
            cause = cause_of_unload(load["ended_by"])
            unloaded = f"was unloaded {cause}" if cause else "has been unloaded since"
            return f"Ready in {units.duration(load['seconds'])}{there}. The model {unloaded}."
        case State.CANCELLED:
            by = REQUESTED_BY.get(load["ended_by"] or "", "")
            while_waiting = "" if last_step or load["started_at"] else " while waiting in the queue"
            return " ".join(filter(None, ("Cancelled", by))) + f"{while_waiting}{there}{after}{at}."
        case State.QUEUED:
            return "Waiting in the queue."
        case State.LOADING:
            return f"Loading{there}{at}."
    return f"{STATE_NAMES[load['state']]}{there}{after}{at}."


def totals(load: LoadResource) -> list[tuple[str, str]]:
    """The most important numbers that are known, as pairs of name and words."""
    snapshot = load["snapshot"]
    so_far = snapshot["elapsed"] if snapshot is not None and load["seconds"] is None else None
    rows = (
        ("So far", units.duration(so_far)),
        ("Took", units.duration(load["seconds"])),
        ("Expected", _expected(load["forecast"])),
        ("Weights", units.size(load["bytes"])),
        ("Mean rate", units.rate(mean_rate(load["bytes"], load["seconds"]))),
        ("Memory used", units.size(load["memory"])),
    )
    return [(name, value) for name, value in rows if value != "unknown"]


def facts(load: LoadRow) -> list[tuple[str, str]]:
    """What else is known of it, as pairs of name and words."""
    requested_by = REQUESTED_BY.get(load["by"], load["by"])
    waited = None if load["started_at"] is None else load["started_at"] - load["requested_at"]
    rows = (
        ("Requested", Markup("{}, {}").format(moment(load["requested_at"]), requested_by)),
        ("Waited in the queue", units.duration(waited) if waited and waited >= _MIN_WAIT_S else None),
        ("Started", moment(load["started_at"]) if load["started_at"] else None),
        ("Ended", moment(load["ended_at"]) if load["ended_at"] else None),
        ("Source", SOURCE_NAMES.get(load["source"] or "", load["source"] or "")),
        ("Revision", load["revision"]),
        ("Architecture", load["architecture"]),
        ("Parameters", units.count(load["parameters"]) if load["parameters"] else None),
        ("Data type", load["dtype"]),
        ("Device", load["device"]),
        ("Node", load["node"]),
        ("Why there", load["placement"]),
        ("Load id", load["load_id"]),
    )
    return [(name, value) for name, value in rows if value]


def counted(series: Series) -> str:
    """Bytes over time in one step: where they began and ended, and how fast they came."""
    began, ended = series["at"][0], series["at"][-1]
    first, last = series["bytes"][0], series["bytes"][-1]
    text = f"Step {series['step']}, {_step_name(series['step'])}: "
    if last == first:
        return f"{text}{units.size(last)}, counted at once at {units.fine_duration(began)}."
    rate = units.rate((last - first) / (ended - began))
    span = f"from {units.fine_duration(began)} to {units.fine_duration(ended)}"
    return f"{text}{units.size(first)} to {units.size(last)}, {span}; {rate} on average."


def stalled(stall: Stall) -> str:
    """A time without news of the load."""
    took, at = units.fine_duration(stall["seconds"]), units.fine_duration(stall["at"])
    return f"Stalled for {took} from {at} on, in step {stall['step']} ({_step_name(stall['step'])})."


def row(load: LoadRow) -> dict[str, str]:
    """A load in the list of loads, by column."""
    return {
        "outcome": outcome(load),
        "why": why(load),
        "took": _or_unknown(load["seconds"], units.duration),
        "weights": _or_unknown(load["bytes"], units.size),
        "rate": _or_unknown(mean_rate(load["bytes"], load["seconds"]), units.rate),
        "by": REQUESTED_BY.get(load["by"], load["by"]),
        "node": load["node"] or "",
    }


def model_row(model: ModelStatistics) -> dict[str, str]:
    """A model in the list of models, by column."""
    decided = model.completed + model.failed + model.interrupted
    return {
        "loads": units.count(model.loads),
        "success": _or_unknown(model.success_rate, units.share),
        "of": f"{model.completed:,} of {decided:,}" if decided else "",
        "median": _or_unknown(model.seconds_median, units.duration),
        "p90": _or_unknown(model.seconds_p90, units.duration),
        "rate": _or_unknown(model.rate_median, units.rate),
        "off": _or_unknown(model.forecast_error_median, _off),
    }


def _expected(forecast: Forecast | None) -> str:
    """``"3.0 s (2.4 to 4.1 s)"``."""
    if forecast is None:
        return "unknown"
    words = units.fine_duration if forecast["high"] < 1 else units.duration
    low, high = words(forecast["low"]), words(forecast["high"])
    number, _, unit = low.partition(" ")
    first = number if high.partition(" ")[2] == unit else low  # no unit twice
    return f"{words(forecast['seconds'])} ({first} to {high.replace(' ', NO_BREAK)})"


def _off(error: float) -> str:
    """How wrong what was expected is, in words; never 0%, since nothing is expected exactly."""
    return "< 1%" if error < 0.01 else f"{error:.0%}"


def _step_name(step: int) -> str:
    return describe_step(step).message.rstrip(".")


def _or_unknown(value: Value | None, words: Callable[[Value], str]) -> str:
    return UNKNOWN if value is None else words(value)
