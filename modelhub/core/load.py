"""A load in this run of the server."""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import InitVar, dataclass, field

from modelhub.checkpoints import LoadOptions, LoadSpec
from modelhub.core.journal import Journal, new_row
from modelhub.core.use import Use
from modelhub.errors import ModelhubError
from modelhub.payloads import LoadResource, LoadRow, Snapshot
from modelhub.states import ACTIVE, State
from modelhub.workers.machine import Machine
from modelhub.workers.worker import Worker

_RECORDED_AT_THE_END = (
    *("bytes", "memory", "device", "dtype", "source", "revision", "architecture", "parameters"),
    *("error", "steps", "node", "placement"),
)


@dataclass(slots=True, eq=False)
class Load:
    """One load. Only its own green thread reports its progress. ``core.lifecycle`` alone changes its state,
    with what it is made of: that thread (``core.load_thread``) and ``core.unloading``.

    The events are set once and stay set, but for ``wakeup``, which its thread waits for in the queue.
    """

    spec: LoadSpec
    by: InitVar[str]  # page, rest, cli, preload or resume
    row: LoadRow = field(init=False)  # as the journal has it
    state: State = State.QUEUED
    may_run: bool = False
    wakeup: threading.Event = field(default_factory=threading.Event)
    announced: threading.Event = field(default_factory=threading.Event)  # its first event was emitted
    ended: threading.Event = field(default_factory=threading.Event)  # its terminal event was emitted
    process_exited: threading.Event = field(default_factory=threading.Event)
    machine: Machine | None = None  # that it runs on, or has run on; None while it waits
    placement: str = ""  # why there, in words; empty where there is only one
    tried: list[str] = field(default_factory=list)  # the nodes that have refused it, or were lost
    worker: Worker | None = None
    of: Load | None = None  # of a replica: the load of its model
    replicas: list[Load] = field(default_factory=list)  # further copies, on other machines
    progress: float | None = None  # of a replica that loads; the others have events
    given_up: Worker | None = None  # its process was ended, for a replica to take its place
    emptied: tuple[Machine, ...] = ()  # those that its copies have left
    reserved_bytes: int = 0
    taken_from: int | None = None  # the anonymous memory of its process when that was reserved for a load
    cancelled_by: str | None = None
    unloaded_by: str | None = None
    memory_before: int | None = None
    own_bytes: int | None = None  # what its process had for itself
    receipt: Snapshot | None = None
    is_second_attempt: bool = False  # in the first one memory ran out, or there was none
    has_waited: bool = False  # until models were no longer in use: its time says nothing of the next
    replaces: tuple[str, ...] = ()  # the models to unload when its turn comes
    ready_at: float | None = None  # on the monotonic clock
    use: Use = field(default_factory=Use)
    anonymous_at_ready: int | None = None  # the anonymous memory of its process when it became ready

    def __post_init__(self, by: str) -> None:
        """Give it an id and its row in the journal."""
        spec = self.spec
        self.row = new_row(secrets.token_hex(8), spec.model_id, by, spec.device, spec.dtype)

    @property
    def load_id(self) -> str:
        """The id of the load in REST, events and journal."""
        return self.row["load_id"]

    @property
    def model_id(self) -> str:
        """The model that it loads."""
        return self.row["model_id"]

    def reserve(self, size: int, is_loading: bool = False) -> None:
        """Reserve memory for it; a load takes it by and by from now on."""
        self.taken_from = self._anonymous_bytes() if is_loading else None
        self.reserved_bytes = size

    def note_ready(self) -> None:
        """Its model has become ready: what its process takes from now on is for its use."""
        self.ready_at = time.monotonic()
        if self.of is None:
            self.use.idle_since = time.time()
        self.anonymous_at_ready = self._anonymous_bytes()

    @property
    def is_in_use(self) -> bool:
        """Whether a process of its model works for anybody, or somebody waits for the model."""
        is_busy = any(one.worker is not None and one.worker.is_busy for one in self.first.copies)
        return self.use.is_awaited or is_busy

    # Further copies: see ``core.replicas``

    @property
    def first(self) -> Load:
        """The load of its model: for a replica another one."""
        return self.of or self

    @property
    def copies(self) -> list[Load]:
        """The first copy and its replicas, those too that load or have failed."""
        return [self, *self.replicas]

    @property
    def living_replicas(self) -> list[Load]:
        """The replicas that are ready or will be, the oldest first."""
        return [one for one in self.replicas if one.state in (*ACTIVE, State.READY) and not one.unloaded_by]

    @property
    def without(self) -> list[str | None]:
        """The nodes that it cannot go to: they have refused it, or of a replica, have a copy already."""
        copies = [self.of, *self.of.living_replicas] if self.of is not None else []
        return [*(one.machine.name for one in copies if one.machine is not None), *self.tried]

    def least_busy(self) -> Load:
        """The copy for the next request: that with the fewest, of those that are ready and stay."""
        ready = [one for one in self.replicas if one.state == State.READY]
        return min([self, *ready], key=lambda one: (_leaves(one), _requests(one)))

    def forget(self, replica: Load) -> None:
        """A replica is no longer one; the caller holds the lock."""
        if replica in self.replicas:
            self.replicas.remove(replica)

    def fail(self, error: ModelhubError) -> None:
        """A replica has failed, and is shown with the reason; the caller holds the lock."""
        self.state = State.FAILED
        self.row = {**self.row, "error": {**error.to_dict(), "step": None}}
        self.reserve(0)

    def become(self, heir: Load) -> None:
        """A replica takes the place of its model's first copy; the caller holds the lock."""
        self.worker, self.machine, self.placement = heir.worker, heir.machine, heir.placement
        self.reserved_bytes, self.taken_from = heir.reserved_bytes, heir.taken_from
        self.anonymous_at_ready = heir.anonymous_at_ready
        self.row = {**self.row, "memory": heir.row["memory"]}

    @property
    def held_bytes(self) -> int:
        """What a ready model holds: what its load took, and what its process has taken since."""
        return (self.row["memory"] or self.reserved_bytes) + self.grown_bytes

    @property
    def grown_bytes(self) -> int:
        """What the process of a ready model has taken since that became ready, as caches of conversations."""
        now, before = self._anonymous_bytes(), self.anonymous_at_ready
        return 0 if now is None or before is None else max(0, now - before)

    @property
    def pending_bytes(self) -> int:
        """Of what is reserved for it, the bytes that the system still counts as free.

        What a load has taken is no longer free. Weights that are mapped from files stay available.
        """
        now = None if self.taken_from is None else self._anonymous_bytes()
        if self.taken_from is None or now is None:
            return self.reserved_bytes
        return max(0, self.reserved_bytes - max(0, now - self.taken_from))

    def _anonymous_bytes(self) -> int | None:
        """What its process has for itself; None where that is not known."""
        return None if self.worker is None else self.worker.anonymous_bytes() or None


def _leaves(load: Load) -> bool:
    return load.machine is not None and load.machine.is_draining


def _requests(load: Load) -> int:
    return 0 if load.worker is None else sum(load.worker.requests)


def end_values(payload: Snapshot) -> dict[str, object]:
    """What the journal keeps of the terminal event of a load, by column."""
    values: dict[str, object] = {name: payload.get(name) for name in _RECORDED_AT_THE_END}
    return {**values, "state": payload["state"], "ended_at": time.time(), "seconds": payload["elapsed"]}


def record(journal: Journal, load: Load, values: dict[str, object]) -> None:
    """Take new values into the load's row, here and in the journal."""
    load.row = {**load.row, **values}  # type: ignore[typeddict-item]
    journal.update(load.load_id, values)


def load_resource(row: LoadRow, snapshot: Snapshot) -> LoadResource:
    """A load as REST returns it; ``snapshot`` is that of its model, which may be about a later load."""
    return {**row, "snapshot": snapshot if snapshot["load_id"] == row["load_id"] else None}


def can_join(load: Load, options: LoadOptions) -> bool:
    """Whether a new request is served by the model's latest load; False where it takes a new one.

    Raises ``wrong_state`` while the model is being unloaded, or where the request names another device or
    data type than the load has.
    """
    if load.state == State.UNLOADING:
        raise wrong_state(load.model_id, load.state, "It is being unloaded.", "Try again in a moment.")
    if load.state not in (*ACTIVE, State.READY):
        return False
    row = load.row
    for name, wanted, requested, actual in (
        ("device", options.device, row["requested_device"], row["device"]),
        ("data type", options.dtype, row["requested_dtype"], row["dtype"]),
    ):
        if wanted is not None and wanted not in (requested, actual):
            why = f"Its {name} is {actual or requested}, not {wanted}."
            todo = "Unload it first." if load.state == State.READY else "Cancel that load first."
            raise wrong_state(load.model_id, load.state, why, todo)
    return True


def wrong_state(model_id: str, state: State, why: str, todo: str) -> ModelhubError:
    """The error for a request that the model's state does not allow."""
    return ModelhubError("wrong_state", id=model_id, state=state, why=why, todo=todo)


def has_left_memory(model_id: str) -> ModelhubError:
    """The error for a request whose model was unloaded while it ran."""
    return wrong_state(model_id, State.ABSENT, "It was unloaded meanwhile.", "Load it again.")


def ended_on_purpose(copy: Load, worker: Worker) -> ModelhubError | None:
    """The error for a request whose copy of the model was ended on request while it ran, alone or with the
    others; None where it has ended by itself."""
    first = copy.first
    if first.unloaded_by is not None:
        return has_left_memory(first.model_id)
    if copy.unloaded_by is None and first.given_up is not worker:
        return None
    why, todo = "The copy that ran the request was ended.", "Send the request again."
    return wrong_state(first.model_id, first.state, why, todo)


def has_ended(model_id: str, state: State) -> ModelhubError:
    """The error for cancelling a load that has ended."""
    todo = "Unload the model instead." if state == State.READY else "There is nothing to cancel."
    return wrong_state(model_id, state, "That load has ended.", todo)
