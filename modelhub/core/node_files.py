"""The models with files on the nodes of a cluster: those of all of them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modelhub.core.model_files import ModelFiles, find_in
from modelhub.core.scan import Entry
from modelhub.workers.machine import Machine, Machines


class NodeFiles(ModelFiles):
    """Made of what the nodes report, anew where one of them reports another list."""

    def __init__(self, machines: Machines) -> None:
        super().__init__()
        self._machines = machines
        self._made_of: list[tuple[Machine, Mapping[str, Entry]]] = []
        self._nodes: dict[str, list[str]] = {}
        self._told = 0  # the version of which ``has_changed`` has told

    def entries(self) -> Mapping[str, Entry]:
        """Every model on a node, by id: as it is where it is whole, and can be loaded."""
        lists = [(machine, machine.entries()) for machine in self._machines.all()]
        if not _are_same(lists, self._made_of):
            found: dict[str, Entry] = {}
            nodes: dict[str, list[str]] = {}
            for machine, entries in sorted(lists, key=_by_name):
                for model_id, entry in entries.items():
                    found[model_id] = _better(found.get(model_id), entry)
                    if entry.source != "demo" or entry.disk_bytes:  # else it can be made anywhere
                        nodes.setdefault(model_id, []).append(machine.name or "")
            self._made_of, self.last, self._nodes = lists, found, nodes
            self.version += 1
        self.is_complete = self.is_complete or bool(lists)
        return self.last

    def find(self, model_id: str) -> Entry | None:
        """The model, if a node has files of it."""
        known = find_in(self.entries(), model_id)
        if known is not None:
            return known
        looked_up = (machine.find(model_id) for machine in self._machines.all())
        return next((entry for entry in looked_up if entry is not None), None)

    def refresh(self) -> None:
        """Have every node look at its files anew."""
        for machine in self._machines.all():
            machine.refresh_files()

    def has_changed(self) -> bool:
        """Whether the list is another than at the last call: nodes have come or gone, or have other files."""
        self.entries()
        told, self._told = self._told, self.version
        return told != self.version

    def nodes_of(self, model_id: str) -> Sequence[str]:
        """The nodes that have files of the model."""
        self.entries()
        found = self._nodes.get(model_id) or self._nodes.get(model_id.partition("@")[0])
        return found or ()


def _by_name(one: tuple[Machine, Mapping[str, Entry]]) -> str:
    return one[0].name or ""


def _better(one: Entry | None, other: Entry) -> Entry:
    """The more useful one of what two nodes have of a model."""
    return other if one is None or _rank(other) > _rank(one) else one


def _rank(entry: Entry) -> tuple[bool, bool]:
    return entry.cannot_load is None, entry.size_bytes is not None


def _are_same(
    lists: Sequence[tuple[Machine, Mapping[str, Entry]]],
    before: Sequence[tuple[Machine, Mapping[str, Entry]]],
) -> bool:
    return len(lists) == len(before) and all(
        machine is known and entries is known_entries
        for (machine, entries), (known, known_entries) in zip(lists, before, strict=True)
    )
