"""What the numbers in config.json count, and how large they may be: transformers makes lists of some."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from modelhub.errors import ModelhubError

if TYPE_CHECKING:
    from modelhub.loader.files.opening import Files

MAX_LAYERS = 10_000  # of the deepest models published, a few hundred
MAX_LABELS = 100_000  # ImageNet-22k has 21,841
MAX_ARCHITECTURES = 64
_LAYERS = frozenset(("layers", "depth", "depths", "block", "blocks"))
_NOT_LAYERS = frozenset((
    "size", "sizes", "length", "norm", "index", "idx", "ids", "id", "dim", "scale", "multiple", "bins",
))  # fmt: skip
_NUMBERS = frozenset(("num", "numb", "n"))
_LIST_OF_COUNTS = frozenset((*_NUMBERS, "depth", "depths", "repeats", "per"))
_LABELS = frozenset(("labels", "classes"))


def check_counts(files: Files, settings: dict[str, Any]) -> None:
    """Raise ``bad_config`` for a count of which transformers would make lists of millions."""
    architectures = settings.get("architectures") or []
    if not isinstance(architectures, list) or not all(isinstance(name, str) for name in architectures):
        raise ModelhubError("bad_config", id=files.model_id, why="its architectures are not a list of names.")
    if len(architectures) > MAX_ARCHITECTURES:
        why = f"it names {len(architectures)} architectures."
        raise ModelhubError("bad_config", id=files.model_id, why=why)
    for key, number, limit in _bounded(settings):
        # Not a number, as NaN is, is not within them either.
        if not -limit <= number <= limit:
            raise ModelhubError("bad_config", id=files.model_id, why=f"{key} is {number}, more than {limit}.")


def _bounded(settings: dict[str, Any]) -> Iterator[tuple[str, float, int]]:
    """Each count with its key and limit; of a list that does not add up to layers its length."""
    for key, value in numbers(settings):
        parts = set(key.split("_"))
        if is_count(parts):
            yield key, _total(value, parts), MAX_LAYERS
        elif parts & _LABELS and parts & _NUMBERS:
            yield key, _total(value, parts), MAX_LABELS


def _total(value: Any, parts: set[str]) -> Any:
    if not isinstance(value, list):
        return value  # not as a float: one of a thousand digits has none
    return sum(map(abs, value)) if _lists_counts(parts) else len(value)


def layer_counts(settings: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """Every whole number that says how many layers there are, also in the settings of parts."""
    for key, value in numbers(settings):
        parts = set(key.split("_"))
        if not is_count(parts):
            continue
        if type(value) is int:
            yield key, value
        elif isinstance(value, list) and _lists_counts(parts) and all(type(n) is int for n in value):
            yield key, sum(value)


def numbers(settings: Any) -> Iterator[tuple[str, Any]]:
    """Each number, and each list of numbers, with its key; also those in tables and lists of tables."""
    for child in settings if isinstance(settings, list) else ():
        yield from numbers(child)
    for key, value in settings.items() if isinstance(settings, dict) else ():
        if type(value) in (int, float) or (isinstance(value, list) and value and _all_numbers(value)):
            yield str(key), value
        elif isinstance(value, dict | list):
            yield from numbers(value)


def _all_numbers(values: list[Any]) -> bool:
    return all(type(value) in (int, float) for value in values)


def is_count(parts: set[str]) -> bool:
    """Whether a setting says how many layers there are: vision_feature_layer (-2) says which one is used."""
    is_single = "layer" in parts and bool(parts & _NUMBERS)
    return (is_single or bool(parts & _LAYERS)) and not parts & _NOT_LAYERS


def _lists_counts(parts: set[str]) -> bool:
    """Whether a list adds up to layers: moe_layers has their places, num_heads_per_layer what each has."""
    return bool(parts & _LIST_OF_COUNTS) and "heads" not in parts
