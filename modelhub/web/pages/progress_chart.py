"""The progress bar's nine segments and the sparkline of the rate, as numbers that SVG takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

SPARK_WIDTH = 100
SPARK_HEIGHT = 24
_NO_GAP_BELOW = 0.01  # a segment of less than this share of the bar has no gap before it
_NO_NUMBER_BELOW = 0.03  # and one of less than this has no number


class Segment(NamedTuple):
    """One step's part of the bar, in percent of its width; ``gap`` in pixels."""

    step: int
    x: float
    width: float
    middle: float
    gap: int
    number: str


def segments(shares: Sequence[float]) -> list[Segment]:
    """The parts of the bar, side by side, in order."""
    found: list[Segment] = []
    x = 0.0
    for step, share in enumerate(shares, 1):
        gap = 0 if step == 1 or share < _NO_GAP_BELOW else 2
        number = "" if share < _NO_NUMBER_BELOW else str(step)
        found.append(Segment(step, _percent(x), _percent(share), _percent(x + share / 2), gap, number))
        x += share
    return found


def _percent(share: float) -> float:
    return round(100 * share, 2)


def sparkline(rates: Sequence[tuple[float, float | None]]) -> str:
    """The path of a sparkline: rate over time, from zero to the highest; a gap where nothing was counted.

    It fits a view box of SPARK_WIDTH by SPARK_HEIGHT. Empty where no rate is known.
    """
    known = [rate for _, rate in rates if rate is not None]
    if not known:
        return ""
    first, last, highest = rates[0][0], rates[-1][0], max(*known, 1.0)
    parts: list[str] = []
    command = "M"
    for elapsed, rate in rates:
        if rate is None:
            command = "M"
            continue
        x = SPARK_WIDTH * (elapsed - first) / max(last - first, 0.001)
        y = SPARK_HEIGHT - 1 - (SPARK_HEIGHT - 2) * rate / highest
        parts.append(f"{command}{x:.1f} {y:.1f}")
        command = "L"
    return "".join(parts)
