"""What is expected of a load before it begins: seconds and spread of each step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from modelhub.payloads import Forecast

_P90 = 1.2816  # standard deviations from the median to the p90
_LEAST_S = 0.001
_KNOWN_SPREAD, _MOST_SPREAD = 0.5, 1.0
_MAX_RATIO = 3.0  # of p90 to p10: a wider interval is not worth showing
_SHARED = 0.5  # how much of what makes one step slow makes the others slow too


class Interval(NamedTuple):
    """Seconds: the median, the p10 and the p90."""

    middle: float
    low: float
    high: float

    @property
    def cautious(self) -> float:
        """The median, or more where that is a guess: what is not known may take much longer."""
        spread = math.log(self.high / self.low) / (2 * _P90)
        return self.middle * math.exp(min(max(0.0, spread - _KNOWN_SPREAD), _MOST_SPREAD))


class Expectation(NamedTuple):
    """``seconds`` and ``spreads`` of the nine steps; a spread is the standard deviation of the logarithm.

    ``reading_s`` is when the disk will have brought all weights, in seconds from the beginning; 0 where they
    are in memory. ``assembly_s`` is how long step 5 takes without waiting for it. ``basis`` is as in
    ``payloads.Forecast``.
    """

    seconds: tuple[float, ...]
    spreads: tuple[float, ...]
    reading_s: float
    assembly_s: float
    basis: str

    def forecast(self) -> Forecast:
        """The whole load, as journal and clients get it."""
        whole = interval(self.seconds, self.spreads)
        return {
            "seconds": round(whole.middle, 3),
            "low": round(whole.low, 3),
            "high": round(whole.high, 3),
            "steps": [round(seconds, 4) for seconds in self.seconds],
            "basis": self.basis,
        }


def is_guess(low: float, high: float) -> bool:
    """Whether the p10 and the p90 of a time are so far apart that it is not worth saying."""
    return high > _MAX_RATIO * low


def interval(seconds: Sequence[float], spreads: Sequence[float]) -> Interval:
    """The sum of times of which each has its spread."""
    total = max(sum(seconds), _LEAST_S)
    deviations = [one * spread for one, spread in zip(seconds, spreads, strict=True)]
    alone = sum(deviation**2 for deviation in deviations)
    variance = (1 - _SHARED) * alone + _SHARED * sum(deviations) ** 2
    factor = math.exp(_P90 * math.sqrt(variance) / total)
    return Interval(total, total / factor, total * factor)
