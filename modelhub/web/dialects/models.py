"""Which model a client of another program's API means, and which it may choose from."""

from __future__ import annotations

from modelhub.core.listing import Listed
from modelhub.core.registry import Registry
from modelhub.states import State
from modelhub.web.dialects.fields import BadField

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
    """The models on this machine that can be loaded, and those in memory, by id."""
    return [one for one in registry.listing.all() if not one.cannot_load]


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
