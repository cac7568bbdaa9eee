"""This machine, as the core sees what loads models; where there is no cluster, it is the only one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

from modelhub import memory
from modelhub.checkpoints import Checkpoint, LoadSpec
from modelhub.config import Settings
from modelhub.core import deletion
from modelhub.core.catalogue import Catalogue
from modelhub.core.conditions import conditions_of
from modelhub.core.memory_count import MemoryCount
from modelhub.core.scan import Entry
from modelhub.devices import devices
from modelhub.errors import ModelhubError
from modelhub.payloads import Conditions, DeletedFiles, NodeStatus, WorkersStatus
from modelhub.states import NodeState
from modelhub.versions import versions
from modelhub.workers.kept_models import KeptModels
from modelhub.workers.launcher import Launcher
from modelhub.workers.machine import Machine, Placement
from modelhub.workers.worker import Worker


class LocalMachine:
    """A ``Machine`` around the launcher of this process; ``shown_as`` is its name where it has none."""

    def __init__(
        self, launcher: Launcher, catalogue: Catalogue, name: str | None = None, shown_as: str = ""
    ) -> None:
        self.name = name
        self.launcher = launcher
        self.catalogue = catalogue
        self.is_there = True
        self.is_draining = False
        self._shown_as = name or shown_as
        self._count = MemoryCount(launcher)

    @property
    def kept(self) -> KeptModels:
        """What it keeps prepared."""
        return self.launcher.kept

    @property
    def rehearsal_seconds(self) -> float | None:
        """How long the rehearsal of its newest spare took."""
        return self.launcher.rehearsal_seconds

    def worker(self, spec: LoadSpec | None = None, fresh: bool = False) -> Worker:
        """A worker process for a load, see ``Launcher.worker``."""
        return self.launcher.worker(spec, fresh)

    def prepare_spare(self) -> None:
        """Have a process made ready for the next load."""
        self.launcher.prepare_spare()

    def keep(self, spec: LoadSpec, seconds: float) -> None:
        """Keep a model that was unloaded prepared for its next load, for so long."""
        self.launcher.keep(spec, seconds)

    def status(self) -> WorkersStatus:
        """How far its zygote is."""
        return self.launcher.status()

    def waiting(self) -> Checkpoint | None:
        """How far a load is that waits for the zygote."""
        return self.launcher.waiting()

    def ask_conditions(
        self, spec: LoadSpec, others: int = 0, fetch_bytes: int | None = None
    ) -> Callable[[], Conditions]:
        """The conditions of a load that begins now, which are known at once."""
        found = conditions_of(self.launcher, spec, self.find(spec.model_id), others, fetch_bytes)
        return lambda: found

    def processes_of(self, worker: Worker) -> Sequence[int]:
        """The processes that a load is held up by."""
        return self.launcher.processes_of(worker)

    def entries(self) -> Mapping[str, Entry]:
        """The models on this machine, by id."""
        return self.catalogue.entries()

    def find(self, model_id: str) -> Entry | None:
        """The model, if it is on this machine."""
        return self.catalogue.find(model_id)

    def refresh_files(self) -> None:
        """Have the next call of ``entries`` scan the folders again."""
        self.catalogue.refresh()

    def delete_files(
        self, model_id: str, own: bool, unused: Callable[[str], AbstractContextManager[None]]
    ) -> DeletedFiles:
        """Delete the files of a model, in the cache those of all revisions."""
        catalogue = self.catalogue
        catalogue.refresh()
        entry = catalogue.find(model_id)
        roots = {"folder": catalogue.models_dir, "cache": catalogue.cache_dir, "demo": catalogue.demo_dir}
        # Folders know no revisions: one found for an id with a revision is another model.
        if entry is None or (entry.source != "cache" and entry.model_id != model_id):
            raise ModelhubError("no_files", id=model_id)
        if entry.source == "folder" and not own:
            raise ModelhubError("own_folder", id=model_id)
        freed = deletion.delete(entry, roots[entry.source], lambda: unused(entry.model_id))
        catalogue.forget(entry.model_id)
        self.kept.let_go(entry.model_id)
        return {"id": entry.model_id, "source": entry.source, "freed_bytes": freed}

    def total_bytes(self) -> int:
        """The memory that its models could have."""
        return memory.total_bytes()

    def free_bytes(self) -> int:
        """The memory that a new load may take, before what loads under way have reserved."""
        return memory.free_bytes()

    def memory_of_all(self, leaving: Worker | None = None) -> int | None:
        """The memory of all processes of the server."""
        return self._count.total(leaving)

    def count_later(self, worker: Worker) -> None:
        """Count soon what a worker has, so that ``memory_of_all`` need not."""
        self._count.read_later(worker)

    def own_bytes(self, worker: Worker | None) -> int | None:
        """What a worker has for itself."""
        return self._count.own_bytes(worker)

    def node_status(self) -> NodeStatus:
        """What is shown of it."""
        return {
            "name": self._shown_as,
            "address": "",
            "state": NodeState.DRAINING if self.is_draining else NodeState.READY,
            "workers": self.status(),
            "total": self.total_bytes(),
            "free": self.free_bytes(),
            "models": 0,
            "loading": 0,
            "loads": [],
            "ready": [],
            "gpus": sum(device.startswith("cuda") for device in devices()),
            "versions": versions(),
            "error": None,
        }


class OneMachine:
    """``Machines`` where there is no cluster: this one."""

    def __init__(self, settings: Settings) -> None:
        self.on_change: list[Callable[[], None]] = []
        self._slots = settings.max_concurrent_loads
        catalogue = Catalogue(settings.models_dir, demo_dir=settings.demo_dir)
        launcher = Launcher(catalogue.model_types, self._tell_change, settings.device, settings.warm_up_path)
        self.machine = LocalMachine(launcher, catalogue, shown_as=settings.node)

    def start(self) -> None:
        """Start the zygote."""
        self.machine.launcher.start()

    def close(self) -> None:
        """End the zygote and every worker."""
        self.machine.launcher.close()

    def all(self) -> Sequence[Machine]:
        """This one."""
        return (self.machine,)

    def away(self) -> Sequence[NodeStatus]:
        """None."""
        return ()

    def status(self) -> WorkersStatus:
        """How far its zygote is."""
        return self.machine.status()

    def choose(
        self, spec: LoadSpec, loads: Mapping[str | None, int], without: Sequence[str | None] = ()
    ) -> list[Placement]:
        """This one, where it has a slot."""
        is_taken = self.machine.name in without or loads.get(self.machine.name, 0) >= self._slots
        return [] if is_taken else [Placement(self.machine, "")]

    def drain(self, name: str) -> Machine:
        """There is nothing to drain: raises ``unknown_node``, ``invalid_request``."""
        if name != self.machine.node_status()["name"]:
            raise ModelhubError("unknown_node", name=name)
        why = "This server loads models on its own machine, and has no other to load them on."
        raise ModelhubError("invalid_request", why=why)

    def remove(self, name: str) -> None:
        """Nothing leaves."""

    def _tell_change(self) -> None:
        for hook in self.on_change:
            hook()
