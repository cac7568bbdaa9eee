"""Which node a load goes to, and why, in words: pure, from what the nodes have reported."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from modelhub import units

MOST = 3  # a load that its node refuses goes to the next one; not on and on


class Candidate(NamedTuple):
    """A node that may take a load; sizes are bytes."""

    name: str
    free_bytes: int  # after what its loads have reserved
    need_bytes: int | None  # of the load; None: not known
    is_prepared: bool  # it keeps all of the model but its weights
    has_files: bool
    is_warm: bool
    loads: int  # that run there
    slots: int  # that may run there at once
    gpus: int

    @property
    def fits(self) -> bool:
        """Whether the load would be admitted now, as far as that is known."""
        return self.need_bytes is None or self.need_bytes <= self.free_bytes

    @property
    def rank(self) -> int:
        """The lower, the better."""
        if not self.fits:
            return 3
        return 0 if self.is_prepared else 1 if self.has_files else 2


class Choice(NamedTuple):
    """A node, and why it takes the load."""

    name: str
    why: str


def order(candidates: Iterable[Candidate], device: str, needs_files: bool = False) -> list[Choice]:
    """The best nodes for a load to ``device``, at most three, the best one first.

    One that has the model prepared, else one with its files, else the one with most memory free; where it
    fits none, that with most memory free. One whose slots are taken, or without the GPU that is asked for,
    is left out. One without the files also where another one has them and room, though its slots are taken:
    to wait for a slot takes less than to fetch them. ``needs_files``: nobody could fetch them.
    """
    able = [one for one in candidates if _has_device(one, device)]
    with_files = [one for one in able if one.has_files]
    if needs_files or any(one.fits for one in with_files):
        able = with_files
    usable = [one for one in able if one.loads < one.slots]
    best = sorted(usable, key=lambda one: (one.rank, not one.is_warm, one.loads, -one.free_bytes, one.name))
    return [Choice(one.name, _why(one)) for one in best[:MOST]]


def _has_device(candidate: Candidate, device: str) -> bool:
    kind, _, number = device.partition(":")
    return kind != "cuda" or candidate.gpus > int(number or 0)


def _why(candidate: Candidate) -> str:
    free = f"{units.size(candidate.free_bytes)} free"
    if candidate.rank == 0:
        return f"it is prepared there, {free}"
    if candidate.rank == 1:
        return f"its files are there, {free}"
    return f"most memory, {free}"
