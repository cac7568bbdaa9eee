"""A node of the cluster, as the server sees it: a machine that loads models, by what its agent reports."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from itertools import count
from typing import Any

from modelhub.checkpoints import Checkpoint, LoadSpec
from modelhub.cluster.placement import Candidate
from modelhub.cluster.questions import Questions
from modelhub.cluster.remote_process import RemoteProcess
from modelhub.cluster.wire import entries_from
from modelhub.core.conditions import without_files
from modelhub.core.model_files import find_in
from modelhub.core.scan import Entry
from modelhub.errors import ModelhubError
from modelhub.payloads import Conditions, DeletedFiles, NodeStatus, WorkersStatus
from modelhub.states import NodeState
from modelhub.workers.channel import Channel, Message
from modelhub.workers.children import Exit
from modelhub.workers.environment import hub_token
from modelhub.workers.worker import Worker

_ASK_S = 0.5
_LOOK_S = 2.0  # how often it is asked which models there are while somebody looks
_DELETE_S = 60.0
_COLD: WorkersStatus = {"state": "cold", "seconds": None, "spare": None}
_numbers = count(1)

# Sends a message to the bridge, and with it a socket; raises OSError.
Send = Callable[[Message, int | None], None]


class RemoteKept:
    """The models that a node keeps prepared."""

    def __init__(self, say: Callable[..., None]) -> None:
        self._say = say
        self._ids: frozenset[str] = frozenset()

    def ids(self) -> frozenset[str]:
        """The models that are prepared, as of the last report."""
        return self._ids

    def let_go(self, repo: str | None = None) -> None:
        """Have the node end the processes that have no worker; of one repository or revision, where given."""
        self._say("let_go", repo=repo)

    def note(self, ids: frozenset[str]) -> bool:
        """What is prepared now; returns whether that is something else."""
        is_other, self._ids = ids != self._ids, ids
        return is_other


class Node:
    """See ``workers.machine.Machine``. ``handle`` takes what its agent says, in the thread of the bridge."""

    def __init__(self, name: str, address: str, gpus: int, send: Send) -> None:
        self._name = name
        self._address = address
        self._gpus = gpus
        self._send = send
        self.state = NodeState.JOINING
        self.error: ModelhubError | None = None  # why it is lost or refused
        self._kept = RemoteKept(self._say)
        self._report: Message = {}
        self._entries: dict[str, Entry] = {}
        self._looked_at = float("-inf")
        self._versions: dict[str, str] = {}
        self._lock = threading.Lock()
        self._processes: dict[str, RemoteProcess] = {}
        self._questions = Questions(self._say)

    # What the core asks

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def kept(self) -> RemoteKept:
        """What it keeps prepared."""
        return self._kept

    @property
    def rehearsal_seconds(self) -> float | None:
        """How long the rehearsal of its newest spare took."""
        seconds: float | None = self._report.get("rehearsal")
        return seconds

    @property
    def is_there(self) -> bool:
        """Whether it loads models, or drains."""
        return self.state in (NodeState.READY, NodeState.DRAINING)

    @property
    def is_draining(self) -> bool:
        """Whether it takes no new loads."""
        return self.state == NodeState.DRAINING

    def worker(self, spec: LoadSpec | None = None, fresh: bool = False) -> Worker:
        """A worker process there, which loads ``spec`` at once, see ``Launcher.worker``.

        Raises ``node_lost``, ``worker_unavailable``.
        """
        return Worker(lambda fresh: self._fork(spec, fresh), fresh)

    def prepare_spare(self) -> None:
        """Have a process made ready for the next load."""
        self._say("spare")

    def keep(self, spec: LoadSpec, seconds: float) -> None:
        """Keep a model that was unloaded prepared for its next load, for so long."""
        self._say("keep", spec=asdict(spec), seconds=seconds)

    def status(self) -> WorkersStatus:
        """How far its zygote is."""
        status: WorkersStatus = self._report.get("workers", _COLD)
        return status

    def waiting(self) -> Checkpoint | None:
        """How far a load is that waits for the zygote; None once that is warm."""
        waiting = self._report.get("waiting")
        return None if waiting is None else Checkpoint(*waiting)

    def ask_conditions(
        self, spec: LoadSpec, others: int = 0, fetch_bytes: int | None = None
    ) -> Callable[[], Conditions]:
        """The conditions of a load there; by the last report where the node does not answer at once."""
        known = self._known_conditions(spec, others, fetch_bytes)
        if not self.is_there:
            return lambda: known
        fields = {"spec": asdict(spec), "others": others, "fetch_bytes": fetch_bytes}
        answer = self._questions.ask("conditions", **fields)

        def conditions() -> Conditions:
            with contextlib.suppress(ModelhubError):
                return answer(_ASK_S) or known
            return known

        return conditions

    def _known_conditions(self, spec: LoadSpec, others: int, fetch_bytes: int | None) -> Conditions:
        is_prepared, status = spec.model_id in self._kept.ids(), self.status()
        start = "spare" if status["spare"] else "fork" if status["state"] == "warm" else "import"
        start, wait_s = "prepared" if is_prepared else start, self._report.get("wait_s", 0.0)
        return without_files(spec, self.find(spec.model_id), start, wait_s, others, fetch_bytes)

    def processes_of(self, worker: Worker) -> tuple[int, ...]:
        """None of this machine."""
        return ()

    def total_bytes(self) -> int:
        """The memory that its models could have."""
        return int(self._report.get("total", 0))

    def free_bytes(self) -> int:
        """The memory that a new load may take, before what loads under way have reserved."""
        return int(self._report.get("free", 0))

    def memory_of_all(self, leaving: Worker | None = None) -> int | None:
        """The memory of all processes of modelhub there; None: not known."""
        process = self._process_of(leaving)
        with contextlib.suppress(ModelhubError):
            answer = self._ask("memory", _ASK_S, leaving=None if process is None else process.id)
            if answer is not None:
                if process is not None and answer["own"] is not None:
                    process.own_bytes = answer["own"]
                total: int | None = answer["total"]
                return total
        last: int | None = self._report.get("memory")
        return last

    def count_later(self, worker: Worker) -> None:
        """Its agent counts by itself."""

    def own_bytes(self, worker: Worker | None) -> int | None:
        """What a worker has for itself; None: not known."""
        process = self._process_of(worker)
        return None if process is None else process.own_bytes

    def node_status(self) -> NodeStatus:
        """What is shown of it, but for its models, which the core knows."""
        return {
            "name": self._name,
            "address": self._address,
            "state": self.state.value,
            "workers": self.status(),
            "total": self.total_bytes(),
            "free": self.free_bytes(),
            "models": 0,
            "loading": 0,
            "loads": [],
            "ready": [],
            "gpus": self._gpus,
            "versions": self._versions,
            "error": None if self.error is None else self.error.to_dict(),
        }

    # The models there

    def entries(self) -> Mapping[str, Entry]:
        """The models there by id, as of the last report; the same object while nothing changes."""
        if time.monotonic() - self._looked_at > _LOOK_S:
            self._looked_at = time.monotonic()
            self._say("scan", anew=False)
        return self._entries

    def find(self, model_id: str) -> Entry | None:
        """A model there; one with a revision is looked up by its repo."""
        return find_in(self._entries, model_id)

    def refresh_files(self) -> None:
        """Have it look which models there are, and report that if they are others."""
        self._looked_at = time.monotonic()
        self._say("scan", anew=True)

    def delete_files(
        self, model_id: str, own: bool, unused: Callable[[str], AbstractContextManager[None]]
    ) -> DeletedFiles:
        """Delete the files of a model there.

        Raises ``own_folder``, ``no_files``, ``cannot_delete``, ``node_lost``, and as ``unused``.
        """
        entry = self.find(model_id)
        with unused(model_id if entry is None else entry.model_id):
            deleted: DeletedFiles | None = self._ask("delete", _DELETE_S, model=model_id, own=own)
        if deleted is None:
            raise ModelhubError("cannot_delete", id=model_id, why=f"node {self._name} does not answer.")
        self._entries = {name: one for name, one in self._entries.items() if name != deleted["id"]}
        return deleted

    # For the cluster

    def candidate(self, spec: LoadSpec, loads: int, need_bytes: int | None) -> Candidate:
        """It as a candidate for a load, with ``loads`` under way there."""
        entry = self.find(spec.model_id)
        return Candidate(
            name=self._name,
            free_bytes=max(0, self.free_bytes() - int(self._report.get("pending", 0))),
            need_bytes=need_bytes,
            is_prepared=spec.model_id in self._kept.ids(),
            has_files=entry is not None and entry.size_bytes is not None and entry.disk_bytes > 0,
            is_warm=self.status()["state"] == "warm",
            loads=loads,
            slots=int(self._report.get("slots", 1)),
            gpus=self._gpus,
        )

    def handle(self, message: Message) -> bool:
        """What its agent says; returns whether the pages show something else now."""
        kind = message["type"]
        if kind == "report":
            return self._take_report(message)
        if kind == "refused":
            self.state, self._versions = NodeState.REFUSED, message["versions"]
            self.error = ModelhubError.from_dict(message["error"])
            return True
        if kind == "forked":
            if (process := self._processes.get(message["worker"])) is not None:
                process.begin(message["pid"])
        elif kind == "exited":
            with self._lock:
                process = self._processes.pop(message["worker"], None)
            if process is not None:
                process.end(Exit(*message["exit"]), message["refusal"])
        elif kind == "answer":
            self._questions.take(message)
        return False

    def leave(self) -> None:
        """Have it end what runs there and leave the cluster."""
        self._say("leave")

    def drain(self) -> None:
        """It takes no new loads from now on."""
        if self.state == NodeState.READY:
            self.state = NodeState.DRAINING

    def lose(self, error: ModelhubError) -> None:
        """It is lost, or has left; its processes have ended with it."""
        with self._lock:
            self.state, self.error = NodeState.LOST, error
            processes, self._processes = list(self._processes.values()), {}
        for process in processes:
            process.lose(error)
        self._questions.lose()

    def _take_report(self, report: Message) -> bool:
        is_new = self.state == NodeState.JOINING
        if is_new:
            self.state = NodeState.READY
        self._report, self._versions = report, report["versions"]
        for worker, known in report["processes"].items():
            if (process := self._processes.get(worker)) is not None:
                process.note_memory(known["anonymous"], known["own"])
                if known["pid"] is not None:
                    process.begin(known["pid"])
        if (entries := report.pop("entries")) is not None:
            self._entries = entries_from(entries)
        is_other = self._kept.note(frozenset(report["kept"]))
        return is_new or is_other or entries is not None

    def _fork(self, spec: LoadSpec | None, fresh: bool) -> RemoteProcess:
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            raise ModelhubError("worker_unavailable", why=error.strerror) from None
        process = RemoteProcess(f"r{next(_numbers)}", Channel(ours))
        request = {"op": "open", "node": self._name, "worker": process.id, "fresh": fresh}
        if spec is not None:  # the load goes along, and is not sent again
            process.is_loading, request["token"] = True, hub_token()
        try:
            with self._lock, contextlib.closing(theirs):
                if not self.is_there:
                    raise self._lost()
                self._processes[process.id] = process
                self._send({**request, "spec": None if spec is None else asdict(spec)}, theirs.fileno())
        except (OSError, ModelhubError) as error:
            self._processes.pop(process.id, None)
            ours.close()
            raise error if isinstance(error, ModelhubError) else self._lost() from None
        return process

    def _lost(self) -> ModelhubError:
        return self.error or ModelhubError("node_lost", node=self._name, how="cannot be reached")

    def _process_of(self, worker: Worker | None) -> RemoteProcess | None:
        pid = None if worker is None else worker.pid
        processes = list(self._processes.values())
        return next((one for one in processes if pid is not None and one.pid == pid), None)

    def _say(self, op: str, **fields: object) -> None:
        with contextlib.suppress(OSError):
            self._send({"op": op, "node": self._name, **fields}, None)

    def _ask(self, op: str, timeout_s: float, **fields: object) -> Any:
        """What the node answers; None where it does not in time. Raises the error it has, ``node_lost``."""
        if not self.is_there:
            raise self._lost()
        return self._questions.ask(op, **fields)(timeout_s)


def largest_need(nodes: Mapping[str, Node], model_id: str, dtype: str) -> int | None:
    """The memory that a load takes, by what the nodes that have its files say; None where none has them."""
    found = [entry for node in nodes.values() if (entry := node.find(model_id)) is not None]
    needs = [need for entry in found if (need := entry.need_bytes(dtype)) is not None]
    return max(needs, default=None)
