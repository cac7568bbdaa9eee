"""Which model a client of another program's API means, and which it may choose from."""

from __future__ import annotations

from modelhub.core.listing import Listed
from modelhub.core.model_files import find_in
from modelhub.core.registry import Registry
from modelhub.states import CHANGING, State
from modelhub.web.dialects.fields import BadField

_COMING = (*CHANGING, State.READY)
_DEFAULT_REVISION = "@main"  # of transformers serve, whose answers name it


def model_of(registry: Registry, name: str | None) -> str:
    """The id of the model that a request names; without a name, of the only one in memory.

    Raises ``invalid_id``, and BadField where it is not clear which model is meant.
    """
    if not name:
        return _only(registry)
    model_id = registry.catalogue.id_of(name)
    is_plain = not model_id.endswith(_DEFAULT_REVISION) or registry.adapter.knows(model_id)
    return model_id if is_plain else model_id.removesuffix(_DEFAULT_REVISION)


def usable_models(registry: Registry) -> list[Listed]:
    """The models on this machine that can be loaded, and those in memory or on the way there, by id."""
    return [
        one
        for one in registry.listing.all()
        if not one.cannot_load and is_here(registry, one.model_id, one.state)
    ]


def is_here(registry: Registry, model_id: str, state: State) -> bool:
    """Whether a model is more than a request that has failed: on this machine, or about to be."""
    return state in _COMING or find_in(registry.catalogue.entries(), model_id) is not None


def ready_models(registry: Registry) -> list[str]:
    """The models in memory."""
    known = registry.adapter.known()
    return [one for one in known if registry.snapshot(one)["state"] == State.READY]


def _only(registry: Registry) -> str:
    ready = ready_models(registry)
    if len(ready) != 1:
        there = "none is" if not ready else f"{len(ready)} are"
        raise BadField("model", f"Name one: it may be left out where one model is in memory, and {there}.")
    return ready[0]
