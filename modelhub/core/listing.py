"""The list of models: which there are, and each as a resource; a part of a long list is cheap."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from modelhub.core.budget import Budget
from modelhub.core.model_files import ModelFiles, find_in
from modelhub.core.scan import Entry
from modelhub.payloads import ModelResource, Snapshot
from modelhub.progress.adapter import ProgressAdapter
from modelhub.states import OCCUPYING, State


class Listed(NamedTuple):
    """A model in the list."""

    model_id: str
    state: State
    cannot_load: bool


class Listing:
    """The models that are on this machine or were requested.

    ``budget()`` is the memory as of now, ``prepared()`` the models that are kept prepared,
    ``dtype`` that of a load that chooses none.
    """

    def __init__(
        self,
        catalogue: ModelFiles,
        adapter: ProgressAdapter,
        budget: Callable[[], Budget],
        prepared: Callable[[], frozenset[str]] = frozenset,
        dtype: str = "auto",
    ) -> None:
        self._catalogue = catalogue
        self._adapter = adapter
        self._budget = budget
        self._prepared = prepared
        self._dtype = dtype
        self._listed: list[Listed] = []  # those on this machine, as if none was ever loaded
        self._listed_of: Mapping[str, Entry] | None = None

    def all(self) -> list[Listed]:
        """Every model, by id."""
        entries = self._catalogue.entries()
        if entries is not self._listed_of:
            listed = [_listed(name, State.ABSENT, entry) for name, entry in entries.items()]
            self._listed, self._listed_of = sorted(listed, key=_by_id), entries
        states = {name: self._adapter.snapshot(name)["state"] for name in self._adapter.known()}
        touched = [_listed(name, state, entries.get(name)) for name, state in states.items()]
        others = (one for one in self._listed if one.model_id not in states) if states else self._listed
        return sorted([*others, *touched], key=_by_id)

    def count(self) -> int:
        """About how many there are; does not wait for a scan."""
        on_disk = self._catalogue.last
        return len(on_disk) + sum(name not in on_disk for name in self._adapter.known())

    def has(self, model_id: str) -> bool:
        """Whether the list has the model."""
        return self._adapter.knows(model_id) or model_id in self._catalogue.entries()

    def touched(self) -> list[ModelResource]:
        """The models that are not just on this machine: in memory, loading, waiting, failed, unloaded...

        Does not wait for a scan.
        """
        return self._resources(sorted(self._adapter.known(), key=str.lower), self._catalogue.last)

    def resources(self, ids: Iterable[str]) -> list[ModelResource]:
        """The models of these ids, which are in the list."""
        return self._resources(ids, self._catalogue.entries())

    def _resources(self, ids: Iterable[str], entries: Mapping[str, Entry]) -> list[ModelResource]:
        budget, prepared = self._budget(), self._prepared()
        return [self._resource(name, find_in(entries, name), budget, name in prepared) for name in ids]

    def resource(self, model_id: str) -> ModelResource:
        """One model, of which this machine need not have any file."""
        entry = self._catalogue.find(model_id)
        return self._resource(model_id, entry, self._budget(), model_id in self._prepared())

    def _resource(
        self, model_id: str, entry: Entry | None, budget: Budget, is_prepared: bool
    ) -> ModelResource:
        snapshot = self._adapter.snapshot(model_id)
        is_loaded = snapshot["state"] in OCCUPYING
        cannot_load = entry.cannot_load if entry else None
        need_bytes = entry.need_bytes(self._dtype) if entry else None
        return {
            "id": model_id,
            "source": entry.source if entry else "hub",
            "size_bytes": entry.size_bytes if entry else None,
            "need_bytes": need_bytes,
            "disk_bytes": entry.disk_bytes if entry else 0,
            "partial_bytes": entry.partial_bytes if entry else None,
            "cannot_load": None if is_loaded else cannot_load,
            "fits": None if is_loaded or cannot_load else budget.fits(need_bytes),
            "random_weights": entry is not None and entry.source == "demo",
            "nodes": [*self._catalogue.nodes_of(model_id)],
            "prepared": is_prepared,
            "state": snapshot["state"],
            "snapshot": snapshot,
        }


def without_files(snapshot: Snapshot) -> ModelResource:
    """A model of which no machine has any file."""
    return {
        "id": snapshot["id"],
        "source": "hub",
        "size_bytes": None,
        "need_bytes": None,
        "disk_bytes": 0,
        "partial_bytes": None,
        "cannot_load": None,
        "fits": None,
        "nodes": [],
        "random_weights": False,
        "prepared": False,
        "state": snapshot["state"],
        "snapshot": snapshot,
    }


def matching(models: Iterable[Listed], search: str) -> list[Listed]:
    """Those whose id contains ``search``, in upper or lower case."""
    text = search.lower()
    return [one for one in models if text in one.model_id.lower()]


def _by_id(one: Listed) -> str:
    return one.model_id.lower()


def _listed(model_id: str, state: State, entry: Entry | None) -> Listed:
    cannot_load = entry is not None and entry.cannot_load is not None and state not in OCCUPYING
    return Listed(model_id, state, cannot_load)
