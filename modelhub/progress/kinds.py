"""Which loads take alike long in a step, and what makes one of them take longer than another."""

from __future__ import annotations

from modelhub.payloads import Conditions
from modelhub.progress.reference import UNKNOWN_MODEL_BYTES

_CACHED = 0.98  # of the weights: with more of them in the page cache, the disk does not matter
_FETCH, _READ, _RUN = 3, 5, 9
_UNREHEARSED = ("import", "fork")

Kind = tuple[object, ...]


def kind_of(step: int, conditions: Conditions) -> Kind:
    """Loads of one kind differ in a step by no more than ``size_of``."""
    start, is_prepared = conditions["start"], conditions["start"] == "prepared"
    from_hub = ("hub",) if conditions["source"] == "hub" else ()
    prepared = ("prepared",) if is_prepared else ()
    match step:
        case 1:
            return (start, *from_hub)
        case 2:
            return from_hub or prepared
        case 3:
            return () if conditions["fetch_bytes"] == 0 else (conditions["source"],)
        case 4:
            return prepared
        case 5:
            converts = ("converts",) if conditions.get("converts") else ()
            return (*(("cold",) if is_cold(conditions) else ()), *prepared, *converts)
        case 9:
            # A process that has not rehearsed does for the first time all that a forward pass needs.
            new = ("new",) if start in _UNREHEARSED else ()
            return (*(("cold",) if is_cold(conditions) else ()), *prepared, *new)
        case 7:
            return (conditions["device"],)
    return ()


def size_of(step: int, conditions: Conditions) -> int:
    """The bytes that the seconds of a step grow with; 0 where there are none.

    Of step 1 it is the milliseconds that the process is expected to take until it is there.
    """
    weights = _or_unknown(conditions["weight_bytes"])
    match step:
        case 1:
            return round(1000 * conditions["wait_s"])
        case 2:
            return conditions["other_bytes"]
        case 3:
            return _or_unknown(conditions["fetch_bytes"])
        case 5 | 7 | 9:
            return weights
    return 0


def is_size_known(step: int, conditions: Conditions) -> bool:
    """Whether ``size_of`` is more than a guess."""
    if step == _FETCH:
        return conditions["fetch_bytes"] is not None
    return step not in (_READ, _RUN) or conditions["weight_bytes"] is not None


def _or_unknown(size: int | None) -> int:
    return UNKNOWN_MODEL_BYTES if size is None else size


def uncached_bytes(conditions: Conditions) -> int:
    """The bytes of the weights that the disk has to bring."""
    if conditions["fetch_bytes"] != 0:
        return 0  # what was just fetched or made is in the page cache
    return max(0, (conditions["weight_bytes"] or 0) - conditions["cached_bytes"])


def is_cold(conditions: Conditions) -> bool:
    """Whether the load waits for the disk."""
    return uncached_bytes(conditions) > (1 - _CACHED) * (conditions["weight_bytes"] or 0)


def when_cached(conditions: Conditions) -> Conditions:
    """The same load with its weights in the page cache."""
    return {**conditions, "cached_bytes": conditions["weight_bytes"] or 0}
