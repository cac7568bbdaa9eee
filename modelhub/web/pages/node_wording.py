"""The nodes of a cluster in words: a line of each for the dashboard, and what the page of nodes says."""

from __future__ import annotations

from typing import NamedTuple, TypedDict

from modelhub import units, wording
from modelhub.core.budget import Budget
from modelhub.payloads import NodeStatus
from modelhub.states import NodeState
from modelhub.web.reading import Reading

STATE_NAMES = {
    NodeState.JOINING: "Joining",
    NodeState.READY: "Ready",
    NodeState.DRAINING: "Draining",
    NodeState.LOST: "Lost",
    NodeState.REFUSED: "Refused",
}
_GONE = (NodeState.LOST, NodeState.REFUSED)  # nothing is known of their memory
_ATTENTION = (*_GONE, NodeState.DRAINING, NodeState.JOINING, NodeState.READY)
_MOST = 8  # lines; the page of nodes has all
_TAKES_LOADS = (NodeState.JOINING, NodeState.READY)


# "class" is a keyword: the script of the dashboard draws elements with these attributes.
NodeLine = TypedDict("NodeLine", {"class": str, "text": str})


class NodeWords(NamedTuple):
    """What the page of nodes says of one."""

    state: str
    memory: list[wording.MemoryPart]  # empty where nothing is known of it
    doing: str
    facts: list[tuple[str, str]]
    problem: str
    can_drain: bool


def in_cluster(registry: Reading) -> bool:
    """Whether there are nodes to speak of: a cluster is set, or has nodes."""
    return bool(registry.settings.cluster or registry.nodes())


def lines(nodes: list[NodeStatus]) -> list[NodeLine]:
    """A line for each node: its state, its free memory, its models; of many, of those that need attention."""
    found = sorted(nodes, key=lambda node: (_ATTENTION.index(NodeState(node["state"])), -node["free"]))
    shown: list[NodeLine] = [{"class": str(node["state"]), "text": line(node)} for node in found[:_MOST]]
    if more := len(found) - len(shown):
        shown.append({"class": "more", "text": f"and {wording.how_many(more, 'more node')}"})
    return shown


def line(node: NodeStatus) -> str:
    """``"b: 11 GB of 16 GB free · 2 models, 1 load"``, ``"c: lost. Node c does not respond any more."``"""
    state = NodeState(node["state"])
    if state in _GONE:
        return f"{node['name']}: {STATE_NAMES[state].lower()}. {_problem(node)}".strip()
    free = f"{units.size(node['free'])} of {units.size(node['total'])} free"
    now = "" if state == NodeState.READY else STATE_NAMES[state].lower()
    return f"{node['name']}: " + " · ".join(filter(None, (now, free, _counts(node))))


def words(node: NodeStatus) -> NodeWords:
    """What the page says of a node."""
    state, workers = NodeState(node["state"]), node["workers"]
    is_gone = state in _GONE
    facts = (
        ("Address", node["address"]),
        ("GPUs", str(node["gpus"]) if node["gpus"] else ""),
        *((name, version) for name, version in sorted(node["versions"].items())),
    )
    is_cold = not is_gone and workers["state"] != "warm"
    return NodeWords(
        STATE_NAMES[state],
        [] if is_gone else wording.memory_parts(_budget(node)),
        "Its first load has to wait for imports." if is_cold else "" if _counts(node) else "No models",
        [(name, value) for name, value in facts if value],
        _problem(node),
        state in _TAKES_LOADS,
    )


def _counts(node: NodeStatus) -> str:
    models, loads = len(node["ready"]), len(node["loads"])
    counted = (models and wording.how_many(models, "model"), loads and wording.how_many(loads, "load"))
    return ", ".join(filter(None, map(str, filter(None, counted))))


def _problem(node: NodeStatus) -> str:
    error = node["error"]
    return "" if error is None else f"{error['message']} {error['hint']}".strip()


def _budget(node: NodeStatus) -> Budget:
    """The memory of one node as that of all is shown."""
    total, models, loading, free = node["total"], node["models"], node["loading"], node["free"]
    other = max(0, total - models - loading - free)
    return Budget(total, models, loading, other, free, len(node["ready"]), len(node["loads"]), room=free)
