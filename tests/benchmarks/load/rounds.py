"""Runs cases in turn: each once a round, in another order each round."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from tests.benchmarks.load import cache
from tests.benchmarks.load.ours import Refused

_SETTLE_S = 0.3  # between two cases, so that what the last one set free is free


@dataclass(frozen=True)
class Case:
    """What is measured once a round, with the files of ``folder`` in memory, or dropped (``cold``)."""

    name: str
    groups: frozenset[str]
    folder: Path
    measure: Callable[[], float]
    cold: bool = False


@dataclass
class Samples:
    """The numbers of each case by its name, and why a case was left out."""

    numbers: dict[str, list[float]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def median(self, name: str) -> float | None:
        """The median of a case; None if it was not run."""
        return median(self.numbers[name]) if self.numbers.get(name) else None


def run(cases: Sequence[Case], rounds: int) -> Samples:
    """Measure all cases ``rounds`` times."""
    samples = Samples({case.name: [] for case in cases})
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
        for case in random.Random(number).sample(cases, len(cases)):
            if case.name not in samples.skipped:
                _measure(case, samples)
    return samples


def _measure(case: Case, samples: Samples) -> None:
    cache.make_warm(case.folder)
    time.sleep(_SETTLE_S)
    if case.cold:
        cache.make_cold(case.folder)
    try:
        samples.numbers[case.name].append(case.measure())
    except Refused as refused:
        samples.skipped[case.name] = f"the server refused it: {refused}"
