"""The list of models as a web process has it: what the hub has published, with the states of now."""

from __future__ import annotations

from collections.abc import Iterable

from modelhub.core.listing import Listed
from modelhub.payloads import ModelResource
from modelhub.states import OCCUPYING
from modelhub.web.mirror import Mirror


class RemoteListing:
    """See ``core.listing.Listing``; from memory."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror

    def all(self) -> list[Listed]:
        """Every model, by id."""
        ids = sorted({*self._mirror.models, *self._mirror.adapter.known()}, key=str.lower)
        return [self._listed(model_id) for model_id in ids]

    def count(self) -> int:
        """About how many there are."""
        models = self._mirror.models
        return len(models) + sum(name not in models for name in self._mirror.adapter.known())

    def has(self, model_id: str) -> bool:
        """Whether the list has the model."""
        return self._mirror.adapter.knows(model_id) or model_id in self._mirror.models

    def touched(self) -> list[ModelResource]:
        """The models that are not just on disk."""
        return self.resources(sorted(self._mirror.adapter.known(), key=str.lower))

    def resources(self, ids: Iterable[str]) -> list[ModelResource]:
        """The models of these ids."""
        return [self.resource(model_id) for model_id in ids]

    def resource(self, model_id: str) -> ModelResource:
        """One model."""
        found = self._published(model_id)
        snapshot = self._mirror.adapter.snapshot(model_id)
        is_loaded = snapshot["state"] in OCCUPYING
        cannot_load = None if found is None or is_loaded else found["cannot_load"]
        need_bytes = found["need_bytes"] if found is not None else None
        budget = self._mirror.budget
        is_fitting = None if budget is None or is_loaded or cannot_load else budget.fits(need_bytes)
        return {
            "id": model_id,
            "source": found["source"] if found is not None else "hub",
            "size_bytes": found["size_bytes"] if found is not None else None,
            "need_bytes": need_bytes,
            "disk_bytes": found["disk_bytes"] if found is not None else 0,
            "partial_bytes": found["partial_bytes"] if found is not None else None,
            "cannot_load": cannot_load,
            "fits": is_fitting,
            "nodes": found["nodes"] if found is not None else [],
            "random_weights": found is not None and found["random_weights"],
            "prepared": model_id in self._mirror.prepared,
            "state": snapshot["state"],
            "snapshot": snapshot,
        }

    def _published(self, model_id: str) -> ModelResource | None:
        models = self._mirror.models
        return models.get(model_id) or models.get(model_id.partition("@")[0])

    def _listed(self, model_id: str) -> Listed:
        found, state = self._published(model_id), self._mirror.adapter.snapshot(model_id)["state"]
        cannot_load = found is not None and found["cannot_load"] is not None and state not in OCCUPYING
        return Listed(model_id, state, cannot_load)
