"""Where a model is, in words for page and terminal: its node and why that one, and its further copies.

All is empty where there is no cluster.
"""

from __future__ import annotations

from collections.abc import Sequence

from modelhub import units
from modelhub.payloads import Replica, Snapshot
from modelhub.states import State

_HELD = (State.LOADING, State.READY, State.UNLOADING)  # the states in which the reason still matters


def on_node(node: str | None, placement: str | None = None) -> str:
    """``"on node b: its files are there, 11 GB free"``."""
    if not node:
        return ""
    return f"on node {node}: {placement}" if placement else f"on node {node}"


def place(snapshot: Snapshot) -> str:
    """Where the model is or was loaded and why there, and how many copies of it there are.

    ``"on node b: its files are there, 11 GB free · 2 copies, also on c (40%)"``
    """
    if snapshot["state"] not in (*_HELD, State.FAILED):
        return ""
    placement = snapshot.get("placement") if snapshot["state"] in _HELD else None
    where = on_node(snapshot.get("node"), placement)  # an older server has none
    return " · ".join(filter(None, (where, _copies(snapshot))))


def replicas(snapshot: Snapshot) -> str:
    """A line for each further copy: ``"on node c: ready, 2 running, 543 MB"``."""
    return "\n".join(replica(one) for one in snapshot.get("replicas", []))


def replica(one: Replica) -> str:
    """``"on node c: loading, 40%"``, or how it is used, or why it has failed."""
    where = on_node(one["node"]) or "on this machine"
    if one["error"] is not None:
        return f"{where}: {one['error']['message']}"
    parts = [
        str(State(one["state"])),
        _percent(one),
        requests(one["running"], one["waiting"]),
        "" if one["memory"] is None else units.size(one["memory"]),
    ]
    why = f" ({one['placement']})" if one["placement"] else ""
    return f"{where}: {', '.join(filter(None, parts))}{why}"


def requests(running: int, waiting: int) -> str:
    """``"2 running, 1 waiting"``."""
    counts = ((running, "running"), (waiting, "waiting"))
    return ", ".join(f"{number} {name}" for number, name in counts if number)


def nodes(snapshot: Snapshot) -> str:
    """The nodes that have the model, or will: ``"b, c"``."""
    found = [snapshot.get("node"), *(one["node"] for one in _living(snapshot))]
    return ", ".join(filter(None, found))


def _copies(snapshot: Snapshot) -> str:
    """``"3 copies, also on c and d (40%)"``; empty where there is one."""
    others = _living(snapshot)
    if not others:
        return ""
    names = [
        " ".join(filter(None, (one["node"], f"({_percent(one) or 'starting'})" if _is_loading(one) else "")))
        for one in others
    ]
    return f"{len(others) + 1} copies, also on {_listed(names)}"


def _living(snapshot: Snapshot) -> list[Replica]:
    return [one for one in snapshot.get("replicas", []) if one["state"] != State.FAILED]


def _is_loading(one: Replica) -> bool:
    return one["state"] == State.LOADING


def _percent(one: Replica) -> str:
    if not _is_loading(one) or one["progress"] is None:
        return ""
    return f"{min(int(one['progress'] * 100), 99)}%"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
