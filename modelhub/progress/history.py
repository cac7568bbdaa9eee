"""What earlier loads teach of the next one: how long each of its steps takes on this machine."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from modelhub.checkpoints import TOTAL_STEPS
from modelhub.payloads import Conditions, Timeline
from modelhub.progress import reference
from modelhub.progress.expectation import Expectation
from modelhub.progress.kinds import Kind, is_size_known, kind_of, size_of, uncached_bytes, when_cached
from modelhub.progress.robust import FITTED, LEAST_S, Line, Point, fit_line, log_spread, weighted_median

_MOST_LOADS = 200
_MOST_OF_MODEL = 12
_MOST_POINTS = 2  # of one model, in a line: it is for all of them
_NEWEST = 40  # that tell of the start of a process, and of the disk
_READ = 5
_MIN_WAIT_S = 0.05  # a shorter step 5 says nothing of the disk
_MACHINE_SPREAD = 0.3
_UNKNOWN_SIZE_SPREAD = 1.5
_LEAST_SPREADS = (0.0, 0.3, 0.25, 0.2, 0.15)  # by how many loads it was learned from


class Past(NamedTuple):
    """A load that has completed; ``steps`` are the seconds of its nine steps."""

    model_id: str
    conditions: Conditions
    steps: tuple[float, ...]

    @classmethod
    def of(
        cls,
        model_id: str,
        conditions: Conditions,
        steps: Sequence[float],
        weight_bytes: int | None,
        timeline: Timeline | None = None,
    ) -> Past:
        """Without its stalls, and with what is known of it by now: the size, and whether it converts."""
        moving = [*steps]
        for stall in timeline["stalls"] if timeline else ():
            moving[stall["step"] - 1] = max(0.0, moving[stall["step"] - 1] - stall["seconds"])
        fetched = weight_bytes if conditions["fetch_bytes"] is None else conditions["fetch_bytes"]
        known: Conditions = {**conditions, "weight_bytes": weight_bytes, "fetch_bytes": fetched}
        counts = timeline["counts"] if timeline else []
        known["converts"] = any((one["step"], one["unit"]) == (_READ, "tensors") for one in counts)
        return cls(model_id, known, tuple(moving))

    @property
    def reading_s(self) -> float:
        """When the disk had brought all weights, in seconds from the beginning."""
        return sum(self.steps[:_READ])


class _Load(NamedTuple):
    """A past load, with the kind and the size of each of its steps."""

    past: Past
    kinds: tuple[Kind, ...]
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, past: Past) -> _Load:
        steps = range(1, TOTAL_STEPS + 1)
        kinds = tuple(kind_of(step, past.conditions) for step in steps)
        return cls(past, kinds, tuple(size_of(step, past.conditions) for step in steps))


class Step(NamedTuple):
    """What is expected of one step."""

    seconds: float
    spread: float
    is_own: bool = False  # learned from loads of the same model


class History:
    """The newest loads of a machine; ``expect`` tells what they let expect of another one.

    ``speed`` is how many times as quick as that of ``reference`` the processor is, which counts until there
    are loads.
    """

    def __init__(self, speed: float = 1.0) -> None:
        self.speed = speed
        self._loads: deque[_Load] = deque(maxlen=_MOST_LOADS)
        self.models: dict[str, deque[_Load]] = {}  # the one that was loaded last at the end
        self._lines: dict[tuple[int, Kind], Line] = {}
        self._disk = reference.DISK

    def learn(self, past: Iterable[Past]) -> None:
        """Take loads that have completed, the newest at the end."""
        changed: set[tuple[int, Kind]] = set()
        for load in map(_Load.of, past):
            changed.update(enumerate(load.kinds, 1))
            self._loads.append(load)
            own = self.models.pop(load.past.model_id, deque(maxlen=_MOST_OF_MODEL))
            own.append(load)
            self.models[load.past.model_id] = own
        while len(self.models) > _MOST_LOADS:
            del self.models[next(iter(self.models))]
        self._fit(changed)

    def expect(self, model_id: str, conditions: Conditions) -> Expectation:
        """What to expect of a load of this model in these conditions."""
        own = [*reversed(self.models.get(model_id, ()))]
        if "converts" not in conditions and own:
            conditions = {**conditions, "converts": own[0].past.conditions.get("converts", False)}
        cached = when_cached(conditions)
        kind = kind_of(1, conditions)
        started_alike = [one for one in reversed(self._loads) if one.kinds[0] == kind]  # whatever the model
        steps = [self._step(1, started_alike[:_MOST_OF_MODEL], conditions)]
        steps += [
            self._step(step, own, cached if step == _READ else conditions)
            for step in range(2, TOTAL_STEPS + 1)
        ]
        reading, assembly_s = self._reading(own, conditions), steps[_READ - 1].seconds
        left_s = reading.seconds - sum(step.seconds for step in steps[: _READ - 1])
        if left_s > steps[_READ - 1].seconds:
            steps[_READ - 1] = reading._replace(seconds=left_s)
        is_own = any(step.is_own for step in steps[1:])
        return Expectation(
            tuple(step.seconds for step in steps),
            tuple(step.spread for step in steps),
            reading.seconds,
            assembly_s,
            "model" if is_own else "machine" if self._loads else "none",
        )

    def _step(self, step: int, own: Sequence[_Load], conditions: Conditions) -> Step:
        """One step, without waiting for the disk in step 5."""
        kind, size = kind_of(step, conditions), size_of(step, conditions)
        line = self._lines.get((step, kind))
        if line is None:
            line = reference.line(step, kind)
            line = line._replace(fixed=line.fixed / self.speed, slope=line.slope / self.speed)
        expected = line.at(size)
        index = step - 1
        ratios = [
            max(one.past.steps[index], LEAST_S) / line.at(one.sizes[index])
            for one in own
            if one.kinds[index] == kind
        ]
        if ratios:
            return Step(expected * weighted_median(ratios), _spread(ratios), True)
        spread = max(line.spread, _MACHINE_SPREAD)
        return Step(expected, spread if is_size_known(step, conditions) else _UNKNOWN_SIZE_SPREAD)

    def _reading(self, own: Sequence[_Load], conditions: Conditions) -> Step:
        """When the disk will have brought all weights, in seconds from the beginning."""
        size = uncached_bytes(conditions)
        if not size:
            return Step(0.0, 0.0)
        shared = size * _at_once(conditions)
        rates = [_disk_rate(one.past) for one in own if _waited(one.past)]
        if rates:
            return Step(shared * weighted_median(rates), _spread(rates), True)
        return Step(self._disk.at(shared), max(self._disk.spread, _MACHINE_SPREAD))

    def _fit(self, changed: set[tuple[int, Kind]]) -> None:
        """Fit the lines of the kinds of which there is news."""
        newest = [*reversed(self._loads)]
        points: dict[tuple[int, Kind], list[Point]] = {key: [] for key in changed}
        models: Counter[tuple[int, Kind, str]] = Counter()
        for one in newest:
            for index, seconds in enumerate(one.past.steps):
                key = (index + 1, one.kinds[index])
                found, of_model = points.get(key), (*key, one.past.model_id)
                if found is not None and len(found) < FITTED and models[of_model] < _MOST_POINTS:
                    models[of_model] += 1
                    found.append(Point(one.sizes[index], max(seconds, LEAST_S)))
        self._lines |= {key: fit_line(found, reference.line(*key)) for key, found in points.items()}
        rates = [_disk_rate(one.past) for one in newest[:_NEWEST] if _waited(one.past)]
        if rates:
            self._disk = Line(0.0, weighted_median(rates), log_spread(rates))


def _waited(past: Past) -> bool:
    """Whether a load waited for the disk, so that it tells how fast that is."""
    is_most = 2 * uncached_bytes(past.conditions) > (past.conditions["weight_bytes"] or 0)
    return is_most and past.steps[_READ - 1] > max(_MIN_WAIT_S, 0.3 * past.reading_s)


def _disk_rate(past: Past) -> float:
    """Seconds for a byte, if one load had the disk for itself."""
    return past.reading_s / (uncached_bytes(past.conditions) * _at_once(past.conditions))


def _at_once(conditions: Conditions) -> int:
    """How many loads share the disk."""
    return 1 + conditions.get("others", 0)


def _spread(ratios: Sequence[float]) -> float:
    least = _LEAST_SPREADS[min(len(ratios), len(_LEAST_SPREADS) - 1)]
    return max(log_spread(ratios), least)
