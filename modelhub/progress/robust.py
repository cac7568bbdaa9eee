"""Robust estimates from a few noisy measurements: a median and a line, in which recent ones weigh more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

_DECAY = 0.8  # the weight of a measurement, relative to the next newer one
_ROUNDS = 4
_OUTLIER = 0.3  # a relative residual beyond which a measurement loses weight
_PRIOR = 0.3  # the weight of what is expected without measurements, relative to the newest one


class Point(NamedTuple):
    """A measurement: ``y`` seconds for ``x`` bytes."""

    x: float
    y: float


class Line(NamedTuple):
    """``fixed`` seconds and ``slope`` seconds a byte; ``spread`` as of ``log_spread``."""

    fixed: float
    slope: float
    spread: float

    def at(self, x: float) -> float:
        """The seconds for ``x`` bytes."""
        return self.fixed + self.slope * x


def weighted_median(values: Sequence[float]) -> float:
    """The median of at least one value, the newest first."""
    pairs = sorted((value, _DECAY**age) for age, value in enumerate(values))
    half, below = sum(weight for _, weight in pairs) / 2, 0.0
    for place, (value, weight) in enumerate(pairs):
        below += weight
        if math.isclose(below, half) and place + 1 < len(pairs):
            return (value + pairs[place + 1][0]) / 2
        if below > half:
            return value
    return pairs[-1][0]


def log_spread(values: Sequence[float]) -> float:
    """How far positive values lie apart: a robust standard deviation of their logarithms; 0 of one value."""
    logs = sorted(math.log(max(value, 1e-9)) for value in values)
    middle = weighted_median(logs)
    return 1.48 * weighted_median([abs(one - middle) for one in logs]) if len(logs) > 1 else 0.0


def fit_line(points: Sequence[Point], prior: Line) -> Line:
    """The line through points, the newest first, with few of them close to ``prior``.

    It minimizes relative residuals; those of outliers count less.
    """
    largest = max((point.x for point in points), default=0.0) or 1.0
    anchors = [Point(0.0, prior.at(0.0)), Point(largest, prior.at(largest))]
    rows = [(point, _DECAY**age) for age, point in enumerate(points)] + [(one, _PRIOR) for one in anchors]
    fixed, slope = prior.fixed, prior.slope
    for _ in range(_ROUNDS):
        weights = []
        for point, weight in rows:
            residual = abs(fixed + slope * point.x - point.y) / point.y
            weights.append(weight * min(1.0, _OUTLIER / max(residual, 1e-9)) / point.y**2)
        fixed, slope = _least_squares([point for point, _ in rows], weights)
    ratios = [point.y / max(fixed + slope * point.x, 1e-9) for point in points]
    return Line(fixed, slope, max(log_spread(ratios), prior.spread / (1 + len(points))))


def _least_squares(points: Sequence[Point], weights: Sequence[float]) -> tuple[float, float]:
    """The line with the least weighted squares, of those that never fall and never lie below zero."""
    total = sum(weights)
    mean_x = sum(w * p.x for p, w in zip(points, weights, strict=True)) / total
    mean_y = sum(w * p.y for p, w in zip(points, weights, strict=True)) / total
    square = sum(w * (p.x - mean_x) ** 2 for p, w in zip(points, weights, strict=True))
    product = sum(w * (p.x - mean_x) * (p.y - mean_y) for p, w in zip(points, weights, strict=True))
    slope = max(0.0, product / square) if square > 0 else 0.0
    fixed = mean_y - slope * mean_x
    if fixed >= 0:
        return fixed, slope
    squares = sum(w * p.x**2 for p, w in zip(points, weights, strict=True))
    return 0.0, sum(w * p.x * p.y for p, w in zip(points, weights, strict=True)) / squares
