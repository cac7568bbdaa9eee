"""Bounds on what a processor makes of the first inputs, checked before it runs.

A picture of 224 pixels or a second of sound becomes gigabytes where the settings say so. Each bound is above
the defaults of all processors of transformers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from modelhub.errors import ModelhubError
from modelhub.loader.files.opening import Files

MAX_SIDE = 4096  # pixels
MAX_AREA = 2**23  # pixels; Donut has 2560 by 1920
MAX_RATE = 400_000  # samples per second
MAX_SAMPLES = 2**22  # Dots3 has 960,000
MAX_WINDOW = 2**16  # samples
MAX_FEATURES = 2**12
MAX_SPECTRUM = 2**22  # numbers; Dots3 has 6,000 frames of 201
MAX_TILES = 256
MAX_LENGTH = 2**20
MAX_NUMBER = 2**16
MAX_SCALE = 64.0
MIN_CROP = 0.1
_RATES = ("sampling_rate", "audio_sampling_rate")
_WINDOWS = (
    "n_fft", "fft_length", "fft_window_size", "filter_length", "frame_length", "win_length", "window_size",
)  # fmt: skip
_FEATURES = ("feature_size", "num_mel_bins", "n_mels")
_SECONDS = ("chunk_length", "chunk_length_s", "max_length_s", "default_audio_length", "max_audio_clip_s")
_SAMPLES = ("n_samples", "nb_max_samples", "num_max_samples")
_TILES = ("min_patches", "max_image_tiles", "max_slice_nums")
_EDGES = ("shortest_edge", "longest_edge", "min_pixels", "max_pixels")
_FREE = frozenset(("token", "id", "ids", "index", "pixels", "samples", "rate"))
_ENDLESS = 2**62
_PIXEL_COUNT = 10_000  # an edge this long is a number of pixels


def check_settings(files: Files, name: str, settings: Mapping[str, Any]) -> None:
    """Raise ``refused`` where the file ``name`` would make a processor that is costly to construct."""
    for table in _tables(settings):
        numbers = _numbers(table)
        why = _too_much_sound(numbers) or _too_many_filters(numbers)
        if why is not None:
            raise files.refuse(name, why)


def check_parts(model_id: str, parts: list[Any]) -> None:
    """Raise ``bad_tokenizer`` for an image processor or feature extractor whose inputs would be too large."""
    for part in parts:
        settings = dict(vars(part)) | (part.to_dict() if not _has_parts(part) else {})
        numbers = _numbers(settings)
        why = _too_much_sound(numbers) or _too_many_frames(numbers)
        for table in _tables(settings):
            why = why or _too_large(table, _counts_pixels(part))
        if why is not None:
            raise ModelhubError("bad_tokenizer", id=model_id, why=f"{why}.")


def _has_parts(part: Any) -> bool:
    return hasattr(part, "get_attributes")


def _tables(value: Any) -> Iterator[Mapping[str, Any]]:
    """A table and those in it, also those in lists; a list of pairs is one of heights and widths."""
    if isinstance(value, Mapping):
        yield value
        for child in value.values():
            yield from _tables(child)
    elif isinstance(value, list | tuple):
        for child in value:
            is_pair = isinstance(child, list | tuple) and len(child) == 2
            yield from _tables({"height": child[0], "width": child[1]} if is_pair else child)


def _numbers(table: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a table; one that no float can hold is infinite."""
    found = {key: value for key, value in table.items() if type(value) in (int, float)}
    return {key: value if abs(value) < _ENDLESS else math.inf for key, value in found.items()}


def _first(numbers: Mapping[str, float], keys: tuple[str, ...], default: float) -> float:
    return max((numbers[key] for key in keys if key in numbers), default=default)


def _too_much_sound(numbers: Mapping[str, float]) -> str | None:
    for keys, limit in (
        (_RATES, MAX_RATE),
        (_WINDOWS, MAX_WINDOW),
        (_FEATURES, MAX_FEATURES),
        (_SAMPLES, MAX_SAMPLES),
        (_SECONDS, MAX_SAMPLES / 1000),
    ):
        for key in keys:
            if key in numbers and not 0 <= numbers[key] <= limit:
                return f"{key} is {numbers[key]}, more than that of any model"
    if _samples(numbers) > MAX_SAMPLES:
        return f"it makes {_samples(numbers):.0f} samples of any sound"
    if numbers.get("max_length", 0) * _first(numbers, _FEATURES, 0) > MAX_SPECTRUM:
        return f"max_length is {numbers['max_length']}, more than that of any model"
    return None


def _samples(numbers: Mapping[str, float]) -> float:
    """How many samples a sound of one second has once it is as long as the processor makes it."""
    rate = _first(numbers, _RATES, 16_000)
    return max(rate * max(1, _first(numbers, _SECONDS, 1)), _first(numbers, _SAMPLES, 0))


def _too_many_filters(numbers: Mapping[str, float]) -> str | None:
    filters = _first(numbers, _FEATURES, 128) * _first(numbers, _WINDOWS, 512) / 2
    return f"it has filters of {filters:.0f} numbers" if filters > MAX_SPECTRUM else None


def _too_many_frames(numbers: Mapping[str, float]) -> str | None:
    hop = numbers.get("hop_length")
    if hop is None:
        return None
    window = _first(numbers, _WINDOWS, 512)
    if hop < 1 or _samples(numbers) / hop * max(window, 512) / 2 > MAX_SPECTRUM:
        return f"hop_length is {hop}, so that a sound would have too many frames"
    return None


def _too_large(table: Mapping[str, Any], counts_pixels: bool) -> str | None:
    numbers = _numbers(table)
    height, width = numbers.get("height", 0), numbers.get("width", 0)
    if max(height, width) > MAX_SIDE or height * width > MAX_AREA:
        return f"its images have {height} by {width} pixels"
    for key in _EDGES:
        limit = MAX_AREA if key == "min_pixels" or (counts_pixels and key == "shortest_edge") else MAX_SIDE
        is_upper = key == "max_pixels" or (counts_pixels and key == "longest_edge")
        if not is_upper and numbers.get(key, 0) > limit:
            return f"{key} is {numbers[key]}"
    shortest = numbers.get("shortest_edge", 0)
    if "longest_edge" not in numbers and not counts_pixels and shortest**2 > MAX_AREA:
        return f"shortest_edge is {shortest}"
    for key, number in numbers.items():
        if key not in _EDGES and _is_too_large(key, number):
            return f"{key} is {number}"
    return None


def _is_too_large(key: str, number: float) -> bool:
    words = set(key.split("_"))
    if key in _TILES:
        return number > MAX_TILES
    if key == "crop_pct":
        return number < MIN_CROP
    if words & {"size", "divisor", "multiple", "resolution", "side"}:
        return number > MAX_SIDE
    if type(number) is float and words & {"scale", "factor", "aspect"} and "normalize" not in words:
        return number > MAX_SCALE
    return not words & _FREE and number > (MAX_LENGTH if "length" in words else MAX_NUMBER)


def _counts_pixels(part: Any) -> bool:
    """Whether the edges of its size are numbers of pixels, as those of Qwen2-VL are."""
    size = getattr(type(part), "size", None)
    edge = size.get("longest_edge") if isinstance(size, Mapping) else getattr(size, "longest_edge", None)
    return isinstance(edge, int) and edge > _PIXEL_COUNT
