"""What the events of a model say of its replicas."""

from __future__ import annotations

from collections.abc import Sequence

from modelhub.core.load import Load
from modelhub.payloads import Replica
from modelhub.states import ACTIVE, State

_LEAST_GROWTH = 4 * 1024 * 1024  # bytes; less would be news each second


def replicas_of(load: Load, sent: Sequence[Replica] = ()) -> list[Replica]:
    """The replicas of a model as of now; ``sent`` is what was said last."""
    memory = {one["node"]: one["memory"] for one in sent}
    return [_replica(one, memory) for one in load.replicas if one.state != State.UNLOADING]


def is_replica_loading(load: Load) -> bool:
    """Whether a replica of the model waits or loads."""
    return any(one.state in ACTIVE for one in load.replicas)


def steady(size: int, sent: int | None) -> int:
    """A size, as it was said last where it has hardly changed."""
    return sent if sent is not None and abs(size - sent) < _LEAST_GROWTH else size


def _replica(one: Load, sent: dict[str | None, int | None]) -> Replica:
    node = None if one.machine is None else one.machine.name
    is_ready = one.state == State.READY
    running, waiting = one.worker.requests if is_ready and one.worker is not None else (0, 0)
    return {
        "node": node,
        "placement": one.placement or None,
        "state": State.LOADING if one.state in ACTIVE else one.state,
        "progress": None if one.progress is None or one.state not in ACTIVE else round(one.progress, 3),
        "running": running,
        "waiting": waiting,
        "memory": steady(one.held_bytes, sent.get(node)) if is_ready else None,
        "error": one.row["error"],
    }
