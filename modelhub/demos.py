"""The demo models: generated on this machine with random weights, so that a first run needs no network."""

from __future__ import annotations

import fcntl
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SEED = 20261123
VOCABULARY = 259  # 256 bytes and three special tokens
BYTES_PER_PARAMETER = 2  # bfloat16
PARTIAL_PREFIX = ".making-"  # of the name of the folder in which a demo is being made
LOCK_FILE = ".lock"  # in that folder; the process that makes the demo holds a lock on it


@dataclass(frozen=True, slots=True)
class Demo:
    """A Llama of random bf16 weights; the fields are those of its configuration."""

    model_id: str
    layers: int
    hidden: int
    intermediate: int
    heads: int
    shards: int

    @property
    def parameters(self) -> int:
        """How many parameters it has."""
        layer = 4 * self.hidden**2 + 3 * self.hidden * self.intermediate + 2 * self.hidden
        return self.layers * layer + self.hidden + 2 * VOCABULARY * self.hidden

    @property
    def size_bytes(self) -> int:
        """The size of its weights in bytes, without the files' headers."""
        return self.parameters * BYTES_PER_PARAMETER


DEMOS: dict[str, Demo] = {
    demo.model_id: demo
    for demo in (
        Demo("demo/random-0.1gb", layers=16, hidden=512, intermediate=1408, heads=8, shards=1),
        Demo("demo/random-0.5gb", layers=20, hidden=1024, intermediate=2816, heads=16, shards=1),
        Demo("demo/random-2gb", layers=20, hidden=2048, intermediate=5632, heads=16, shards=4),
    )
}


def is_made(folder: Path) -> bool:
    """Whether the folder holds a complete demo: it is renamed into place once it is whole."""
    return (folder / "config.json").is_file()


def sweep(demo_dir: Path) -> None:
    """Remove the incomplete demos of processes that have ended: the kernel dropped their locks."""
    for leftover in demo_dir.glob(f"*/{PARTIAL_PREFIX}*"):
        with suppress(OSError), open(leftover / LOCK_FILE, "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(leftover, ignore_errors=True)
