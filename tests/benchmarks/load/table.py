"""Prints the tables that a person reads, and the line of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from tests.benchmarks.load.audit import Audit
from tests.benchmarks.load.audits import NOISE
from tests.benchmarks.load.rounds import Samples
from tests.benchmarks.load.rows import CONVERTED, Row


def show(
    rounds: int, rows: Sequence[Row], samples: Samples, audits: Mapping[str, Audit], errors: dict[str, float]
) -> None:
    """Print what was measured, what it is held to, and every median."""
    print(f"Medians of {rounds} interleaved rounds.\n")
    print(f"{'case':<64}{'measured':>12}{'held to':>12}  ")
    for row in rows:
        words = "for information" if row.for_information else "met" if row.met else "MISSED"
        held = f"{'>=' if row.at_least else '<='} {_number(row.bound, row.unit)}"
        print(f"{row.title:<64}{_number(row.value, row.unit):>12}{held:>12}  {words}")
    if audits:
        print(
            f"Private memory: {CONVERTED} of what the conversion makes and {NOISE / 1e6:.0f} MB for all else."
        )
    for name, why in samples.skipped.items():
        print(f"left out: {name}: {why}")
    if errors:
        values = ", ".join(f"{value:.5f} with oneDNN {switch}" for switch, value in errors.items())
        print(f"mean absolute error of logits against float32, tokens fed one by one: {values}")
    _show_medians(samples)
    line: dict[str, Any] = {
        "rounds": rounds,
        "rows": [row.to_json() for row in rows],
        "samples": {name: [round(x, 4) for x in numbers] for name, numbers in samples.numbers.items()},
        "skipped": samples.skipped,
        "audits": {name: asdict(audit) for name, audit in audits.items()},
        "logit_errors": errors,
    }
    print(json.dumps(line))


def _show_medians(samples: Samples) -> None:
    print(f"\n{'seconds (decode: tokens/s)':<52}{'median':>9}{'lowest':>9}{'highest':>9}")
    for name, numbers in sorted(samples.numbers.items()):
        if numbers:
            cells = "".join(f"{value:>9.3f}" for value in (median(numbers), min(numbers), max(numbers)))
            print(f"{name:<52}{cells}")


def _number(value: float, unit: str) -> str:
    if unit in ("ms", "MB"):
        return f"{value:.0f} {unit}"
    return f"{value:.2f} {unit}".strip() if unit == "" else f"{value:.3f} {unit}"
