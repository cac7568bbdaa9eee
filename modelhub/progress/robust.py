"""Robust estimates from a few noisy measurements: a median and a line, in which recent ones weigh more."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_DECAY = 0.8  # the weight of a measurement, relative to the next newer one
LEAST_S = 1e-4  # shorter times are not told apart
_ENOUGH = 4  # values, so that one of them may be an outlier
_NORMAL = 1.25  # the standard deviation over the mean of what is away from the middle
FITTED = 12  # measurements that a line is fitted through
_PRIOR = 0.1  # the weight of what is expected without measurements, relative to the newest one


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
        return max(self.fixed + self.slope * x, LEAST_S)


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
    """How far positive values lie apart, the newest first: a standard deviation of their logarithms.

    0 of one value. Of four and more the one that is farthest away does not count.
    """
    logs = [math.log(max(value, 1e-9)) for value in values]
    middle = weighted_median(logs)
    away = sorted((abs(one - middle), _DECAY**age) for age, one in enumerate(logs))
    kept = away[:-1] if len(away) >= _ENOUGH else away
    mean = sum(distance * weight for distance, weight in kept) / sum(weight for _, weight in kept)
    return _NORMAL * mean * (len(kept) / (len(kept) - 1) if len(kept) > 1 else 0.0)


def fit_line(points: Sequence[Point], prior: Line) -> Line:
    """The line through points, the newest first, with few of them in the proportions of ``prior``.

    Of the lines through one or two points it is the one from which the logarithms of the newest FITTED are
    the least away, so that outliers do not move it. It neither falls nor lies below zero.
    """
    points = points[:FITTED]
    scale = weighted_median([point.y / prior.at(point.x) for point in points])
    like_prior = Line(scale * prior.fixed, scale * prior.slope, prior.spread)
    largest = max(point.x for point in points)

    def distance(line: Line) -> float:
        away = sum(_DECAY**age * _away(line.at(point.x), point.y) for age, point in enumerate(points))
        return away + _PRIOR * sum(_away(line.at(x), like_prior.at(x)) for x in (0.0, largest))

    best = min([like_prior, *_candidates(points, prior)], key=distance)
    ratios = [point.y / best.at(point.x) for point in points]
    return best._replace(spread=max(log_spread(ratios), prior.spread / (1 + len(points))))


def _candidates(points: Sequence[Point], prior: Line) -> Iterator[Line]:
    for number, one in enumerate(points):
        ratio = one.y / prior.at(one.x)
        yield Line(ratio * prior.fixed, ratio * prior.slope, 0.0)
        for other in points[:number]:
            slope = (one.y - other.y) / (one.x - other.x) if one.x != other.x else 0.0
            fixed = one.y - slope * one.x
            if slope >= 0 and fixed > 0:
                yield Line(fixed, slope, 0.0)


def _away(one: float, other: float) -> float:
    return abs(math.log(one / other))
