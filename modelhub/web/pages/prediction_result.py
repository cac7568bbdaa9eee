"""A prediction in a readable form: texts, tables, images and rows of numbers, whatever the task."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from modelhub import units
from modelhub.payloads import Prediction

_TEXT_KEYS = ("generated_text", "text", "translation_text", "summary_text", "answer")
_IMAGE_PREFIX = "data:image/png;base64,"
_SOUND_PREFIX = "data:audio/wav;base64,"
_MAX_ROWS = 50
_MAX_NUMBERS = 8
_MAX_RAW = 20_000


@dataclass
class PredictionResult:
    """The outputs of a model, in whatever of these forms they fit."""

    texts: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    images: list[tuple[str, str]] = field(default_factory=list)  # caption, data: URI
    sounds: list[str] = field(default_factory=list)  # data: URIs
    seconds: str = ""
    raw: str = ""


def read(prediction: Prediction) -> PredictionResult:
    """The result in a prediction as the API returns it."""
    outputs = prediction["outputs"]
    result = PredictionResult(seconds=units.duration(prediction["seconds"]))
    raw = json.dumps(outputs, ensure_ascii=False, indent=1)
    result.raw = raw if len(raw) <= _MAX_RAW else f"{raw[:_MAX_RAW]}…"
    tables = [row for item in _flat(outputs) if isinstance(item, dict) for row in _rows(item)]
    for table in tables[:_MAX_ROWS]:
        _take(result, table, is_alone=len(tables) == 1)
    if not tables:
        result.texts.append(_numbers(outputs) if _is_numeric(outputs) else str(outputs))
    return result


def _flat(value: Any) -> list[Any]:
    """The tables of the outputs, out of the lists that a batch puts around them."""
    if isinstance(value, list) and any(isinstance(item, list | dict) for item in value):
        return [one for item in value for one in (_flat(item) if isinstance(item, list) else [item])]
    return [value]


def _rows(table: dict[str, Any]) -> list[dict[str, Any]]:
    """A table; several where it has a list of labels and one of their scores."""
    labels, scores = table.get("labels"), table.get("scores")
    if not isinstance(labels, list) or not isinstance(scores, list) or len(labels) != len(scores):
        return [table]
    return [{"label": label, "score": score} for label, score in zip(labels, scores, strict=True)]


def _take(result: PredictionResult, table: dict[str, Any], is_alone: bool) -> None:
    table = dict(table)
    if str(table.get("audio", "")).startswith(_SOUND_PREFIX):
        result.sounds.append(table.pop("audio"))
        table.pop("sampling_rate", None)
    images = {key: value for key, value in table.items() if str(value).startswith(_IMAGE_PREFIX)}
    for key, uri in images.items():
        del table[key]
        result.images.append((str(table.get("label", key)), uri))
    for key in _TEXT_KEYS:
        is_one_of_many = key == "answer" and not is_alone
        if key in table and not is_one_of_many and isinstance(text := _last_message(table[key]), str):
            result.texts.append(text)
            del table[key]
    if table and not images:
        result.columns += [key for key in table if key not in result.columns]
        result.rows.append([_cell(table.get(key)) for key in result.columns])


def _last_message(value: Any) -> Any:
    """The last message, where the model returns the whole chat."""
    if isinstance(value, list) and value and isinstance(value[-1], dict):
        return value[-1].get("content")
    return value


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_cell(item)}" for key, item in value.items())
    return (
        _numbers(value)
        if isinstance(value, list) and _is_numeric(value)
        else ""
        if value is None
        else str(value)
    )


def _is_numeric(value: Any) -> bool:
    while isinstance(value, list) and value:
        value = value[0]
    return isinstance(value, int | float)


def _numbers(value: Any) -> str:
    """``"6 × 384 numbers, the first 0.021, -0.34, …"``."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        first, value = value, value[0] if value else None
    if not shape:
        return _cell(value)
    while len(shape) > 1 and shape[0] == 1:
        del shape[0]
    shown = ", ".join(f"{number:.3g}" for number in first[:_MAX_NUMBERS])
    more = ", …" if len(first) > _MAX_NUMBERS else ""
    return f"{' × '.join(map(str, shape))} numbers, the first {shown}{more}"
