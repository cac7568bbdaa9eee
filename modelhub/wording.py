"""A snapshot in words, for pages and terminal: state, headline, numbers, stalls, memory."""

from __future__ import annotations

from typing import NamedTuple, TypedDict

from modelhub import placement_wording, units
from modelhub.checkpoints import TOTAL_STEPS
from modelhub.core.budget import Budget
from modelhub.core.eviction import WAITING_FOR
from modelhub.core.unloading import DRAIN_OF, IDLE_FOR, KEEP_ALIVE, ROOM_FOR
from modelhub.demos import DEMOS
from modelhub.payloads import Snapshot
from modelhub.states import StallCause, State

UNKNOWN = "–"
STATE_NAMES = {
    State.ABSENT: "Not loaded",
    State.QUEUED: "Queued",
    State.LOADING: "Loading",
    State.READY: "Ready",
    State.FAILED: "Failed",
    State.CANCELLED: "Cancelled",
    State.UNLOADING: "Unloading",
    State.INTERRUPTED: "Interrupted",
    State.UNLOADED: "Unloaded",
}
PHASE_NAMES = {
    "initialization": "Initialization",
    "loading_model": "Loading model",
    "device_setup": "Device setup",
    "optimization": "Optimization",
}
REQUESTED_BY = {
    "page": "from a page",
    "rest": "over the API",
    "cli": "from the command line",
    "preload": "by the preload list",
    "resume": "after a restart",
    "ollama": "by an Ollama client",
}
SOURCE_NAMES = {
    "folder": "models folder",
    "cache": "Hugging Face cache",
    "hub": "Hugging Face hub",
    "demo": "made by modelhub",
}
_FETCH_STEP = 3
_HUB_STEPS, _DISK_STEPS = (1, 2), (2, 3, 4, 5)  # what asks the hub for small files; what reads files
_STALL_CAUSES = {
    StallCause.STOPPED: "Its process is stopped (SIGSTOP); SIGCONT resumes it.",
    StallCause.DISK: "It probably waits for the disk.",
    StallCause.SWAP: "Its memory is probably being swapped in: memory is short.",
    StallCause.NETWORK: "It probably waits for the network or the hub.",
    StallCause.PROCESSOR: "It still computes; the processor is probably busy.",
}
_ATTENTION = (
    *(State.LOADING, State.UNLOADING, State.QUEUED, State.FAILED, State.INTERRUPTED, State.CANCELLED),
    *(State.READY, State.ABSENT),
)
_RANKS = {state: place for place, state in enumerate(_ATTENTION)}


class Description(TypedDict):
    """A snapshot in words; a text is empty where there is nothing to say, UNKNOWN where it is not known."""

    state: str
    headline: str
    percent: str
    step: str
    line: str  # below the headline
    use: str  # of a ready model
    place: str  # the node, and why that one
    replicas: str  # further copies, a line for each
    stalled: str
    amount: str
    rate: str
    elapsed: str
    left: str
    detail: str
    spoken: str  # for a screen reader: all of it
    code: str  # of the error


class MemoryPart(NamedTuple):
    """A part of the memory: models, loading, other or free; its share of the whole, and its words."""

    kind: str
    share: float
    words: str


def rank(state: State) -> int:
    """The place of a model in a list by what needs attention: the smaller, the sooner."""
    return _RANKS[state]


def describe(snapshot: Snapshot) -> Description:
    """The snapshot in words, one for each place of a page where there is something to say."""
    is_loading = snapshot["state"] == State.LOADING
    amount = units.amount(snapshot["done"], snapshot["size"], snapshot["unit"]) if is_loading else ""
    rate = units.rate(snapshot["rate"]) if is_loading and snapshot["rate"] is not None else ""
    left = time_left(snapshot) if is_loading else ""
    percent = _percent(snapshot)
    step = f"Step {snapshot['step']} of {TOTAL_STEPS}" if snapshot["step"] and is_loading else ""
    doing = activity(snapshot) if is_loading else ""
    counted = "" if amount and amount in doing else amount  # no number twice
    spoken = (percent, step, headline(snapshot) if is_loading else "", counted, left)
    detail = " ".join(filter(None, (doing and snapshot["message"], snapshot["detail"])))
    name = STATE_NAMES[snapshot["state"]]
    return {
        "state": name,
        "headline": headline(snapshot),
        "percent": percent,
        "step": step,
        "line": " · ".join(filter(None, (counted, rate, left))) if is_loading else line(snapshot),
        "use": use(snapshot),
        "place": placement_wording.place(snapshot),
        "replicas": placement_wording.replicas(snapshot),
        "stalled": _stalled(snapshot),
        "amount": amount or UNKNOWN,
        "rate": rate or UNKNOWN,
        "elapsed": UNKNOWN if snapshot["elapsed"] is None else units.duration(snapshot["elapsed"]),
        "left": left.removeprefix("time left ").removesuffix(" left") or UNKNOWN,
        "detail": detail if is_loading else "",
        "spoken": ", ".join(filter(None, spoken)) or name,
        "code": snapshot["error"]["code"] if snapshot["error"] else "",
    }


def time_left(snapshot: Snapshot) -> str:
    """How long the load still takes: ``"about 10 s left"``, ``"10 to 20 s left"``."""
    return units.time_left(snapshot["eta"], snapshot["eta_low"], snapshot["eta_high"])


def headline(snapshot: Snapshot) -> str:
    """The state in a few words, or the message of the error: ``"Position 3 in the queue"``."""
    state, position = snapshot["state"], snapshot["queue_position"]
    if state == State.QUEUED:
        return f"Position {position} in the queue" if position and position > 1 else "Next in the queue"
    if state == State.LOADING:
        return activity(snapshot) or snapshot["message"] or "Starting"
    if snapshot["error"]:
        return snapshot["error"]["message"]
    if state == State.CANCELLED:
        return f"Cancelled {REQUESTED_BY.get(snapshot.get('by') or '', '')}".strip()
    names = {
        State.READY: "Ready to use",
        State.UNLOADING: "Unloading",
        State.FAILED: "The load failed.",
        State.INTERRUPTED: "The load was interrupted.",
    }
    return names.get(state, "Not in memory")


def activity(snapshot: Snapshot) -> str:
    """What a load does where the message of its step does not say it: it downloads, or makes a demo model.

    ``"Downloading 119 of 515 MB from the hub"``; empty where the message of the step says enough.
    """
    step, detail = snapshot["step"], snapshot["detail"] or ""
    if detail.startswith(WAITING_FOR):
        return f"{units.capitalized(detail)} to be idle"
    if snapshot["id"] in DEMOS:
        is_made = (step == 1 and "demo" in detail) or (step == _FETCH_STEP and snapshot["unit"] == "bytes")
        return "Making the demo model" if is_made else ""
    if step in _HUB_STEPS and detail.endswith("from the hub"):
        return units.capitalized(detail)
    if step != _FETCH_STEP or snapshot["unit"] != "bytes":
        return ""
    if snapshot["done"] == snapshot["size"]:
        return "Verifying the downloaded files"
    return f"Downloading {units.amount(snapshot['done'], snapshot['size'], 'bytes')} from the hub"


def cause_of_unload(by: str | None) -> str:
    """Why a model has left memory: ``"from a page"``, ``"to make room for org/name"``; empty if not known."""
    by = by or ""
    if by.startswith(ROOM_FOR):
        return f"to make {by}"
    if by.startswith(IDLE_FOR):
        return f"since nobody used it for {by.removeprefix(IDLE_FOR)}"
    if by.startswith(KEEP_ALIVE):
        return f"since nobody used it for {by.removeprefix(KEEP_ALIVE)}, as a client had asked (keep_alive)"
    if by.startswith(DRAIN_OF):
        return f"since node {by.removeprefix(DRAIN_OF)} is drained"
    return REQUESTED_BY.get(by, "")


def use(snapshot: Snapshot) -> str:
    """How a ready model is used: ``"2 running, 1 waiting · 34 tokens/s"``, or since when nobody does."""
    now = snapshot.get("use")  # an older server has none
    if now is None:
        return ""
    if now["idle_since"] is not None:
        since = units.time_of_day(now["idle_since"])
        if now["leaves_at"] is None:
            return f"Idle since {since}"
        since = since.rpartition(" ")[0]  # its zone is that of the other
        return f"Idle since {since}, leaves at {units.time_of_day(now['leaves_at'])}"
    who = placement_wording.requests(now["running"], now["waiting"])
    return " · ".join(filter(None, (who, units.tokens_rate(now["tokens_per_second"]))))


def line(snapshot: Snapshot) -> str:
    """What more there is to say of a model that is not loading: the hint of an error, numbers, a receipt."""
    state = snapshot["state"]
    if state == State.QUEUED:
        return "It starts when the loads before it have ended."
    if snapshot["error"]:
        return snapshot["error"]["hint"]
    if state == State.CANCELLED:
        if not snapshot["step"]:
            return "It had not started."
        return f"At step {snapshot['step']} of {TOTAL_STEPS}, after {units.duration(snapshot['elapsed'])}."
    if state == State.READY:
        numbers = (f"in {units.duration(snapshot.get('seconds'))}", units.size(snapshot.get("bytes")))
        return " · ".join(filter(None, (*numbers, snapshot.get("device"), snapshot.get("dtype"))))
    if state == State.ABSENT and snapshot.get("freed") is not None:
        before, after = units.size(snapshot.get("memory_before")), units.size(snapshot.get("memory_after"))
        freed, cause = units.size(snapshot.get("freed")), cause_of_unload(snapshot.get("by"))
        return f"Unloaded {cause}: {freed} freed ({before} before, {after} after)."
    return ""


def stall_cause(snapshot: Snapshot) -> str:
    """Why nothing moves: by what the processes of the load show, else what is probably slow at its step."""
    if snapshot["stall_cause"] is not None:
        return _STALL_CAUSES[snapshot["stall_cause"]]
    if (snapshot["detail"] or "").startswith(WAITING_FOR):
        return f"It is {snapshot['detail']} to be idle, whose memory it needs."
    step, is_demo = snapshot["step"], snapshot["id"] in DEMOS
    is_download = step == _FETCH_STEP and snapshot["unit"] == "bytes" and not is_demo
    if is_download or "hub" in (snapshot["detail"] or ""):
        return "Downloading; the network or the hub is probably slow."
    if step in _DISK_STEPS:
        return "Reading files; the disk is probably slow."
    return "Computing; the processor is probably busy."


def need(need_bytes: int | None, free_bytes: int) -> str:
    """``"needs 1.2 GB, fits"``, or ``"needs 141 GB, 9.4 GB free: does not fit"``; empty where not known."""
    if need_bytes is None:
        return ""
    fits = "fits" if need_bytes <= free_bytes else lack(free_bytes)
    return f"needs {units.size(need_bytes)}, {fits}"


def lack(free_bytes: int) -> str:
    """What is said of a model that needs more than what is free: ``"9.4 GB free: does not fit"``."""
    return f"{units.size(free_bytes)} free: does not fit"


def memory_parts(budget: Budget) -> list[MemoryPart]:
    """The parts of the memory in words; empty parts are left out, but for what is free."""
    parts = (
        ("models", budget.models, f"in {how_many(budget.model_count, 'model')}"),
        ("loading", budget.loading, f"for {how_many(budget.load_count, 'load')}"),
        ("other", budget.other, "in other programs"),
        ("free", budget.free, "free"),
    )
    whole = max(budget.total, 1)
    return [
        MemoryPart(kind, size / whole, f"{units.size(size)} {words}")
        for kind, size, words in parts
        if size or kind == "free"
    ]


def how_many(number: int, noun: str) -> str:
    """``how_many(2, "file")`` is ``"2 files"``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _percent(snapshot: Snapshot) -> str:
    if snapshot["state"] != State.LOADING or snapshot["progress"] is None:
        return ""
    return f"{min(int(snapshot['progress'] * 100), 99)}%"


def _stalled(snapshot: Snapshot) -> str:
    if snapshot["stalled_for"] is None or snapshot["state"] != State.LOADING:
        return ""
    stalled_for = units.duration(snapshot["stalled_for"])
    return f"No progress for {stalled_for}. {stall_cause(snapshot)} The load continues."
