"""What hub, bridge and agents say to each other beside the bytes of the workers' channels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypedDict

from modelhub.core.scan import Entry
from modelhub.errors import ModelhubError
from modelhub.loader.files.sizes import Sizes
from modelhub.payloads import WorkersStatus

# A machine that has this custom resource of Ray loads models, under the name that is its label.
RESOURCE = "modelhub_node"
LABEL = "modelhub-node"
NAMESPACE = "modelhub"
NODE_COMMAND = "modelhub-joined"  # the name of the process of ``modelhub node``


class ProcessReport(TypedDict):
    """A worker, as its node knows it; sizes are bytes."""

    pid: int | None
    anonymous: int
    own: int | None  # what no other process shares; None: not known yet


class Report(TypedDict):
    """What an agent says of its node about once a second, and whenever it changes; sizes are bytes."""

    total: int
    free: int  # before what loads have reserved
    pending: int  # reserved by loads that have not taken it yet
    memory: int | None  # of all processes of modelhub there
    workers: WorkersStatus
    waiting: list[Any] | None  # a checkpoint of step 1 while the zygote warms up
    wait_s: float
    rehearsal: float | None
    kept: list[str]
    processes: dict[str, ProcessReport]  # by worker
    slots: int  # how many loads run at once
    versions: dict[str, str]
    entries: list[dict[str, Any]] | None  # the models there; None: as in the report before


def check_versions(node: str, here: Mapping[str, str], there: Mapping[str, str]) -> None:
    """Raise ``versions_differ``, which names both, where hub and node differ."""
    differ = [name for name in here if here[name] != there.get(name)]
    if differ:
        of_hub = ", ".join(f"{name} {here[name] or 'none'}" for name in differ)
        of_node = ", ".join(f"{name} {there.get(name) or 'none'}" for name in differ)
        raise ModelhubError("versions_differ", node=node, there=of_node, here=of_hub)


def entry_to_dict(entry: Entry) -> dict[str, Any]:
    """A model of a node as JSON."""
    folder = None if entry.folder is None else str(entry.folder)
    return {**entry._asdict(), "path": str(entry.path), "folder": folder}


def entries_from(values: Iterable[Mapping[str, Any]]) -> dict[str, Entry]:
    """The models of a node, by id."""
    found: dict[str, Entry] = {}
    for value in values:
        folder, sizes = value["folder"], value["sizes"]
        if sizes is not None:
            floats = tuple((name, count) for name, count in sizes[0])
            sizes = Sizes(floats, *sizes[1:])
        paths = {"path": Path(value["path"]), "folder": None if folder is None else Path(folder)}
        found[value["model_id"]] = Entry(**{**value, **paths, "sizes": sizes})
    return found
