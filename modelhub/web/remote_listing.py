"""The list of models as a web process has it: what the hub has published, with the states of now."""

from __future__ import annotations

from collections.abc import Iterable

from modelhub.core.listing import Listed, without_files
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
        snapshot, budget = self._mirror.adapter.snapshot(model_id), self._mirror.budget
        found = self._published(model_id) or without_files(snapshot)
        is_loaded = snapshot["state"] in OCCUPYING
        cannot_load = None if is_loaded else found["cannot_load"]
        fits = None
        if budget is not None and not is_loaded and not cannot_load:
            fits = budget.fits(found["need_bytes"])
        return {
            **found,
            "id": model_id,
            "cannot_load": cannot_load,
            "fits": fits,
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
