"""Memory use by owner: loaded models, loads under way, other programs; and what a new load may take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from modelhub import memory, units
from modelhub.errors import ModelhubError
from modelhub.payloads import Receipt
from modelhub.states import State
from modelhub.workers.machine import Machine


class MemoryUse(NamedTuple):
    """What one load uses, in bytes: ``held`` (None: not known yet), ``reserved`` for it, and its state.

    ``pending`` is what of the reserved bytes the system still counts as free.
    """

    state: State
    held: int | None
    reserved: int
    pending: int


class Budget(NamedTuple):
    """The memory that this server could use, in bytes; the parts add up to ``total``.

    ``room`` is what one load may take: what is free on the machine where most is.
    """

    total: int
    models: int  # of models that are ready
    loading: int  # reserved for loads under way, from the step on where their need is known
    other: int  # other programs, and modelhub itself
    free: int  # what a new load may take
    model_count: int  # how many models are ready
    load_count: int  # how many loads are under way
    room: int

    def fits(self, need_bytes: int | None) -> bool | None:
        """Whether a load that needs so much would be admitted now; None where the need is not known."""
        return None if need_bytes is None else need_bytes <= self.room


def compute_budget(uses: Iterable[MemoryUse], machine: Machine) -> Budget:
    """The budget of one machine as of now; admission compares with the same ``free``."""
    uses = list(uses)
    total = machine.total_bytes()
    free = min(total, free_for_load(sum(use.pending for use in uses), machine.free_bytes))
    ready = [use.held or use.reserved for use in uses if use.state == State.READY]
    loading = [use.reserved for use in uses if use.state == State.LOADING]
    models = min(sum(ready), total - free)
    loads = min(sum(loading), total - free - models)
    other = total - free - models - loads
    return Budget(total, models, loads, other, free, len(ready), len(loading), free)


def sum_of(budgets: Sequence[Budget]) -> Budget:
    """The budget of several machines together."""
    parts = [sum(part) for part in zip(*budgets, strict=True)] or [0] * len(Budget._fields)
    return Budget(*parts)._replace(room=max((one.room for one in budgets), default=0))


def free_for_load(pending_bytes: int = 0, free_bytes: Callable[[], int] = memory.free_bytes) -> int:
    """The bytes that a new load may take while others have so much reserved that they have not taken yet, of
    the ``free_bytes()`` of their machine, which is this one where no other is given.

    Those are read first: what is taken in between then counts twice for a moment, and is not called free.
    Weights mapped from files count as page cache, which the system calls available: a loaded model's
    reservation for them therefore stays as long as the model is loaded.
    """
    return max(0, free_bytes() - pending_bytes)


def unload_receipt(
    before: int | None, after: int | None, by: str | None, own_bytes: int | None = None
) -> Receipt:
    """What an unload freed, with ``MemoryCount.total`` before and after it.

    ``own_bytes`` is what the process had for itself. It is what was freed, also where another model is being
    loaded meanwhile; where it is not known, the difference is.
    """
    freed = own_bytes
    if freed is None and before is not None and after is not None:
        freed = max(0, before - after)
    return {"memory_before": before, "memory_after": after, "freed": freed, "by": by}


def check_fits(
    model_id: str, need_bytes: int, free_bytes: int, loading: Iterable[tuple[int, str]] = ()
) -> None:
    """Raise ``no_memory`` with the numbers where the need is more than what is free.

    ``loading`` is what has been reserved for the other loads under way, each with its model.
    """
    if need_bytes <= free_bytes:
        return
    needed, free = units.size(need_bytes), units.size(free_bytes)
    error = ModelhubError("no_memory", id=model_id, needed=needed, free=free)
    for reserved, other in sorted(loading)[-1:]:  # the largest
        error.hint = f"{other}, which is loading, has reserved {units.size(reserved)}. {error.hint}"
    raise error
