"""What stays flat as work grows: more models, more watchers, more loads, a longer history."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """One line of the table: what was measured, in ``unit``, and the bound that the project holds it to."""

    place: str
    measured: float
    unit: str
    bound: float | None = None

    @property
    def is_met(self) -> bool:
        """Whether the bound is kept; a row without one is for information."""
        return self.bound is None or self.measured <= self.bound
