"""Whose the memory is: models that are loaded, loads under way, other programs; and what is free."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from modelhub import memory


class Holding(NamedTuple):
    """What one load holds, in bytes: ``held`` (None: not known yet), ``reserved`` for it, and its state."""

    state: str
    held: int | None
    reserved: int


class Ledger(NamedTuple):
    """The memory that this server could use, in bytes; the parts add up to ``total``."""

    total: int
    models: int  # of models that are ready
    loading: int  # reserved for loads under way, from the step on where their need is known
    other: int  # other programs, and modelhub itself
    free: int  # what a new load may take
    model_count: int  # how many models are ready
    load_count: int  # how many loads are under way

    def fits(self, need_bytes: int | None) -> bool | None:
        """Whether a load of that need would be admitted now; None where the need is not known."""
        return None if need_bytes is None else need_bytes <= self.free


def draw_up(holdings: Iterable[Holding]) -> Ledger:
    """The ledger as of now; ``free`` is the figure that admission goes by."""
    holdings = list(holdings)
    total = memory.total_bytes()
    free = min(total, max(0, memory.free_bytes() - sum(holding.reserved for holding in holdings)))
    ready = [holding.held or holding.reserved for holding in holdings if holding.state == "ready"]
    loading = [holding.reserved for holding in holdings if holding.state == "loading"]
    models = min(sum(ready), total - free)
    loads = min(sum(loading), total - free - models)
    other = total - free - models - loads
    return Ledger(total, models, loads, other, free, len(ready), len(loading))
