"""What loads models, as the core sees it: this machine, or the nodes of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple, Protocol

from modelhub.checkpoints import Checkpoint, LoadSpec
from modelhub.payloads import Conditions, DeletedFiles, NodeStatus, WorkersStatus
from modelhub.workers.worker import Worker

if TYPE_CHECKING:
    from modelhub.core.scan import Entry


class Kept(Protocol):
    """The models that a machine keeps prepared after an unload."""

    def ids(self) -> frozenset[str]:
        """The models that are prepared now."""

    def let_go(self, repo: str | None = None) -> None:
        """End the processes that have no worker; of one repository or revision, where that is given."""


class Machine(Protocol):
    """One machine that loads models. Any thread may call any method; none waits longer than a second or two.

    Sizes are bytes. What another machine says of itself is as of its last report, at most a second old.
    """

    @property
    def name(self) -> str | None:
        """The name of the node; None for this machine, where there is no cluster."""

    @property
    def kept(self) -> Kept:
        """What it keeps prepared."""

    @property
    def rehearsal_seconds(self) -> float | None:
        """How long the rehearsal of its newest spare took, which tells how fast its processor is."""

    @property
    def is_there(self) -> bool:
        """False once a node is lost or has left: its workers have ended."""

    @property
    def is_draining(self) -> bool:
        """Whether it takes no new loads."""

    def worker(self, spec: LoadSpec | None = None, fresh: bool = False) -> Worker:
        """A worker process for a load, see ``Launcher.worker``; returns at once. Raises ModelhubError.

        On another machine it begins with the load of ``spec``, for which ``Worker.begin`` sends nothing then.
        """

    def prepare_spare(self) -> None:
        """Have a process made ready for the next load."""

    def keep(self, spec: LoadSpec, seconds: float) -> None:
        """Keep a model that was unloaded prepared for its next load, for so long."""

    def status(self) -> WorkersStatus:
        """How far its zygote is."""

    def waiting(self) -> Checkpoint | None:
        """How far a load is that waits for the zygote, as a checkpoint of step 1; None once that is warm."""

    def ask_conditions(
        self, spec: LoadSpec, others: int = 0, fetch_bytes: int | None = None
    ) -> Callable[[], Conditions]:
        """Ask for the conditions of a load that begins now while ``others`` run, see ``core.conditions``.

        Asked before its worker is taken, which changes them; what is returned waits for the answer.
        """

    def processes_of(self, worker: Worker) -> Sequence[int]:
        """The processes of this machine that a load is held up by; empty where that is another machine."""

    def entries(self) -> Mapping[str, Entry]:
        """The models with files there, by id; the same object while nothing changes."""

    def find(self, model_id: str) -> Entry | None:
        """The model, if it has files there, see ``Catalogue.find``."""

    def refresh_files(self) -> None:
        """Have the next call of ``entries`` look anew: something has just changed."""

    def delete_files(
        self, model_id: str, own: bool, unused: Callable[[str], AbstractContextManager[None]]
    ) -> DeletedFiles:
        """Delete the files of a model there, of the user's own folder only where ``own`` is set.

        ``unused(repo)`` is a context in which no load of a repository can start; it raises where one runs,
        and is entered for no longer than it takes to move the files out of sight. Raises ``no_files``,
        ``own_folder``, ``cannot_delete``.
        """

    def total_bytes(self) -> int:
        """The memory that its models could have."""

    def free_bytes(self) -> int:
        """The memory that a new load may take, before what loads under way have reserved."""

    def memory_of_all(self, leaving: Worker | None = None) -> int | None:
        """The memory of all processes of modelhub there, see ``MemoryCount.total``; None: not known."""

    def count_later(self, worker: Worker) -> None:
        """A worker's model has become ready: count soon what it has; for a thread of its own."""

    def own_bytes(self, worker: Worker | None) -> int | None:
        """What a worker has for itself, see ``MemoryCount.own_bytes``; None: not known."""

    def node_status(self) -> NodeStatus:
        """What is shown of it; of its loads and models only the lifecycle knows, which adds them."""


class Placement(NamedTuple):
    """A machine for a load, and why that one, in words; the words are empty where there is only one."""

    machine: Machine
    why: str


class Machines(Protocol):
    """All machines of a server. ``Registry`` starts and closes them."""

    on_change: list[Callable[[], None]]  # called when a machine comes, goes, or what is prepared changes

    def start(self) -> None:
        """Start what loads models, unless it runs; returns at once. Raises ModelhubError."""

    def close(self) -> None:
        """End every process that this server has started, here and on nodes, and wait for that."""

    def all(self) -> Sequence[Machine]:
        """Those that are there now."""

    def away(self) -> Sequence[NodeStatus]:
        """The nodes that are not there, but are worth to be shown: joining, lost or refused."""

    def status(self) -> WorkersStatus:
        """How far they are: warm once one of them is."""

    def choose(
        self, spec: LoadSpec, loads: Mapping[str | None, int], without: Sequence[str | None] = ()
    ) -> list[Placement]:
        """The machines for a load, the best one first; empty where none takes it.

        ``loads`` is how many loads run on each machine by its name, those ``without`` are left out, as are
        those that drain and those whose slots are taken.
        """

    def drain(self, name: str) -> Machine:
        """Give a node no new loads from now on; raises ``unknown_node``."""

    def remove(self, name: str) -> None:
        """A drained node has no models any more: let it leave the cluster."""
