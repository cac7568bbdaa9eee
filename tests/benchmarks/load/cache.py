"""Brings the files of a model into the state of the page cache that a case asks for."""

from __future__ import annotations

import time
from pathlib import Path

from tests.support.resident import drop_all, resident_bytes

_PIECE = 8 << 20
_TRIES = 20


def weights(folder: Path) -> list[Path]:
    """The files with the weights."""
    return sorted(folder.glob("*.safetensors"))


def resident(folder: Path) -> int:
    """Bytes of the weights that are in memory, in whole pages."""
    return sum(map(resident_bytes, weights(folder)))


def missing(folder: Path) -> int:
    """Bytes of the weights that are not in memory, rounded down to whole pages."""
    return max(0, sum(path.stat().st_size for path in weights(folder)) - resident(folder))


def make_cold(folder: Path) -> None:
    """Drop the files, and see that nothing of them is left: a process that maps them could keep them."""
    for _ in range(_TRIES):
        drop_all(folder)
        left = resident(folder)
        if not left:
            return
        time.sleep(0.1)
    raise AssertionError(f"{left} bytes of {folder} stay in the page cache")


def make_warm(folder: Path) -> None:
    """Read the files that are not in memory as a whole, as any program does."""
    for path in weights(folder):
        if path.stat().st_size > resident_bytes(path):
            with path.open("rb", buffering=0) as file:
                while file.read(_PIECE):
                    pass
