"""What dashboards show beside the states of models: memory, nodes, what each takes, which are prepared."""

from __future__ import annotations

from typing import TypedDict

from modelhub import wording
from modelhub.web.pages import node_wording
from modelhub.web.pages.model_wording import about
from modelhub.web.reading import Reading


class RowParts(TypedDict):
    """What the row of a model says of its files."""

    about: str
    need: str
    need_bytes: int | None


class PageParts(TypedDict):
    """``lack`` is what is said of a model that does not fit into the ``free`` bytes of a machine."""

    memory: list[wording.MemoryPart]
    nodes: list[node_wording.NodeLine]  # of a cluster
    free: int
    lack: str
    rows: dict[str, RowParts]
    prepared: list[str]  # the models that are kept prepared


def page_parts(registry: Reading, ids: list[str]) -> PageParts:
    """The memory as of now, and what the rows of the models ``ids`` say."""
    budget = registry.budget()
    models = registry.listing.resources(filter(registry.listing.has, ids)) if ids else []
    return {
        "memory": wording.memory_parts(budget),
        "nodes": node_wording.lines(registry.nodes()),
        "free": budget.room,
        "lack": wording.lack(budget.room),
        "rows": {
            model["id"]: {
                "about": about(model),
                "need": wording.need(model["need_bytes"], budget.room),
                "need_bytes": model["need_bytes"],
            }
            for model in models
        },
        "prepared": sorted(registry.prepared()),
    }
