"""The rate of a count within a step: what was expected, corrected by what is measured."""

from __future__ import annotations

import math

_MEMORY = 1.0  # of the time that the count has run so far: older measurements fade
_LEAST_MEMORY_S = 3.0
_PRIOR = 0.4  # how much of the work an expectation is worth that is as uncertain as the count is uneven
_LEAST_PRIOR, _MOST_PRIOR = 0.01, 2.0
_SURPRISING = 2.0
# How unevenly the units come: some modules take a hundred times as long as others, layers may wait for bytes.
_NOISE = {"modules": 0.8, "layers": 0.2, "tensors": 0.45}
_LEAST_NOISE, _UNEVEN = 0.1, 0.5
# A measurement of less than this share of the expected time counts little: the first bytes come in a burst.
_SETTLED, _LEAST_SETTLED_S, _MOST_SETTLED_S = 0.2, 0.05, 0.5
_LATE_S = 0.25  # a pause longer than this lowers the rate
_LONGEST_S, _TYPICAL = 0.5, 4.0  # a pause counts up to so many seconds, or up to so many typical ones
_MEASURED_SPREAD = 0.28


class Rate:
    """Counts up to ``size``. ``expected_s`` is how long what is to be counted from ``done`` on should take.

    ``spread`` is that of the expectation, ``unit`` what is counted. Times are seconds on one clock; the count
    has run since ``began_at``.
    """

    def __init__(
        self, size: int, done: int, expected_s: float, spread: float, began_at: float, unit: str = "bytes"
    ) -> None:
        self._noise = _NOISE.get(unit, _LEAST_NOISE)
        self.size = size
        self.done = done
        self._work = max(size - done, 1)
        self._expected_s = expected_s
        self._spread = spread
        self._began_at = self._at = began_at
        self._time = self._count = 0.0  # measured, of which the older part has faded
        self._moved = 0
        self._takes, self._passed = 0, 0.0  # of which a typical pause is made

    @property
    def share(self) -> float:
        """How much of the work was measured, 0 to 1."""
        return min(1.0, self._moved / self._work)

    def credit(self, done: int, now: float) -> None:
        """The count has come to ``done`` unseen, since it began."""
        self._take(done, now, now - self._at)

    def take(self, done: int, size: int, now: float) -> None:
        """The count has come to ``done``."""
        self.size = size
        self._takes += 1
        self._passed += min(now - self._at, self._longest_s())
        self._take(done, now, min(now - self._at, self._longest_s()))

    def left(self, now: float) -> tuple[float, float]:
        """Seconds until the count is full, and their spread."""
        late_s = max(0.0, min(now - self._at, self._longest_s()) - _LATE_S)
        seconds, weight = self._expected_s / self._work, 0.0
        if self._count > 0:
            measured = (self._time + late_s) / self._count
            difference = math.log(max(measured, 1e-15) / max(seconds, 1e-15))
            weight = self._weight(difference)
            seconds *= math.exp(weight * difference)
        waited_s = min(now - self._at, _LATE_S)
        left_s = max(0.0, (self.size - self.done) * seconds - waited_s)
        if self._noise >= _UNEVEN:  # then the time that has passed says more than what was counted
            left_s = weight * left_s + (1 - weight) * max(0.0, self._expected_s - (now - self._began_at))
        return left_s, (1 - weight) * self._spread + weight * _MEASURED_SPREAD

    def _weight(self, difference: float) -> float:
        """How much what is measured counts, 0 to 1; ``difference`` is that of the logarithms.

        What contradicts an expectation by much more than its spread refutes it.
        """
        prior = min(max(_PRIOR * (self._noise / max(self._spread, 0.01)) ** 2, _LEAST_PRIOR), _MOST_PRIOR)
        surprise = difference / max(self._spread, self._noise) / _SURPRISING
        settled_s = min(max(_SETTLED * self._expected_s, _LEAST_SETTLED_S), _MOST_SETTLED_S)
        weight = self.share / (self.share + prior / (1 + surprise**2))
        return weight * (1 - math.exp(-self._time / settled_s))

    def _take(self, done: int, now: float, passed_s: float) -> None:
        memory_s = max(_LEAST_MEMORY_S, _MEMORY * (now - self._began_at))
        kept = max(0.0, 1 - passed_s / memory_s)
        self._time = self._time * kept + passed_s
        self._count = self._count * kept + (done - self.done)
        self._moved += done - self.done
        self.done, self._at = done, now

    def _longest_s(self) -> float:
        """A longer pause says that nothing came, not that everything is slower."""
        typical_s = self._passed / self._takes if self._takes else 0.0
        return max(_LONGEST_S, _TYPICAL * typical_s)
