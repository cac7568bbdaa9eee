"""The states of models and loads, the outcomes of loads, and the names of events: spelled here only."""

from __future__ import annotations

from enum import Enum


class State(str, Enum):  # noqa: UP042 - as ModelLoadPhase; str() and format() give the value
    """The state of a model, and of a load.

    A model is in one of ``MODEL_STATES``, a load (as the journal keeps it) in one of ``LOAD_STATES``.
    """

    ABSENT = "absent"  # not in memory, and nothing is happening
    QUEUED = "queued"
    LOADING = "loading"
    READY = "ready"
    UNLOADING = "unloading"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"  # the server ended while the load was running or waiting
    UNLOADED = "unloaded"  # of a load: it was ready, and its model has left memory since

    __str__ = str.__str__


MODEL_STATES = (
    *(State.ABSENT, State.QUEUED, State.LOADING, State.READY, State.UNLOADING),
    *(State.FAILED, State.CANCELLED, State.INTERRUPTED),
)
LOAD_STATES = (
    *(State.QUEUED, State.LOADING, State.READY),
    *(State.FAILED, State.CANCELLED, State.INTERRUPTED, State.UNLOADED),
)
ACTIVE = (State.QUEUED, State.LOADING)  # the load has not ended
CHANGING = (*ACTIVE, State.UNLOADING)  # the state will change without anybody doing anything
ENDED_EARLY = (State.FAILED, State.CANCELLED, State.INTERRUPTED)  # until the next load, or dismissed
OCCUPYING = (State.LOADING, State.READY, State.UNLOADING)  # a process holds the model, or part of it


class Outcome(str, Enum):  # noqa: UP042
    """How a load came out, as the history filters and counts them."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    RUNNING = "running"

    __str__ = str.__str__


STATES_OF_OUTCOME: dict[Outcome, tuple[State, ...]] = {
    Outcome.COMPLETED: (State.READY, State.UNLOADED),
    Outcome.FAILED: (State.FAILED,),
    Outcome.CANCELLED: (State.CANCELLED,),
    Outcome.INTERRUPTED: (State.INTERRUPTED,),
    Outcome.RUNNING: ACTIVE,
}
OUTCOME_OF_STATE: dict[State, Outcome] = {
    state: outcome for outcome, states in STATES_OF_OUTCOME.items() for state in states
}


class StepStatus(str, Enum):  # noqa: UP042
    """How far one of the nine steps is, as pages show it."""

    NONE = ""  # there is no load
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    UNREACHED = "not reached"  # the load ended before it

    __str__ = str.__str__


class StallCause(str, Enum):  # noqa: UP042
    """Why nothing moves in a load, as far as its processes show."""

    STOPPED = "stopped"  # by a signal
    DISK = "disk"
    SWAP = "swap"
    NETWORK = "network"
    PROCESSOR = "processor"  # it computes

    __str__ = str.__str__


class NodeState(str, Enum):  # noqa: UP042
    """The state of a machine of the cluster, as the server sees it."""

    JOINING = "joining"
    READY = "ready"
    DRAINING = "draining"  # it takes no new loads, and leaves
    LOST = "lost"
    REFUSED = "refused"  # it cannot load models for this server

    __str__ = str.__str__


class EventName(str, Enum):  # noqa: UP042
    """The Socket.IO events that the server sends; server-sent events have the same names."""

    QUEUED = "model_load_queued"
    STARTED = "model_load_started"
    PROGRESS = "model_load_progress"
    COMPLETED = "model_load_completed"
    FAILED = "model_load_failed"
    CANCELLED = "model_load_cancelled"
    IN_USE = "model_in_use"
    UNLOADED = "model_unloaded"
    MODELS_CHANGED = "models_changed"
    SERVER_STOPPING = "server_stopping"

    __str__ = str.__str__


PAGE_PARTS = "page_parts"  # an event for modelhub's own pages alone, not for other clients
