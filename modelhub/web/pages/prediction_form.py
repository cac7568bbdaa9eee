"""The prediction form on a model's page: which fields its task needs, and the fields as inputs."""

from __future__ import annotations

import base64
import csv
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from modelhub.tasks import TASKS

_MAX_NEW_TOKENS = 60
_LINE_HEIGHT = 20
_LINE_WIDTH = 100

Upload = tuple[bytes, str]  # its bytes and media type


class PredictionForm(NamedTuple):
    """The fields of a form: labels and examples of a text, of a second, short one, and of files.

    A label that ends with "(optional)" is that of a field that may stay empty.
    """

    text: str = ""
    example: str = ""
    files: tuple[str, ...] = ()
    accept: str = ""
    second: str = ""
    second_example: str = ""


_IMAGE = PredictionForm(files=("Image",), accept="image/png,image/jpeg,image/webp,image/gif")
_AUDIO = PredictionForm(
    files=("Audio: WAV, FLAC, MP3 or OGG",), accept="audio/*,.wav,.flac,.mp3,.ogg,.oga,.opus"
)
_LABELS = "Labels to choose from, separated by commas"
_QUESTION = _IMAGE._replace(second="Question", second_example="What is in this picture?")
_WORDS = "Words of the document, for a model that does not read them from the image (optional)"
_FORMS: dict[str, PredictionForm] = {
    "text-generation": PredictionForm("Prompt", "Once upon a time"),
    "text2text-generation": PredictionForm("Text", "translate English to German: How are you?"),
    "feature-extraction": PredictionForm("Sentence to embed", "The cat sat on the mat."),
    "fill-mask": PredictionForm("Text with the model's mask token in place of a word", "hello [MASK]"),
    "text-classification": PredictionForm(
        "Text", "This is wonderful.", second="Second text, for a model that compares two (optional)"
    ),
    "zero-shot-classification": PredictionForm(
        "Text", "My phone will not start.", second=_LABELS, second_example="phone, garden, music"
    ),
    "token-classification": PredictionForm("Text", "Ada Lovelace lived in London."),
    "question-answering": PredictionForm(
        "Text", "Ada Lovelace lived in London.", second="Question", second_example="Where did Ada live?"
    ),
    "table-question-answering": PredictionForm(
        "Table as CSV, with a first line of names",
        "City,People\nParis,2100000\nRome,2800000",
        second="Question",
        second_example="How many people live in Rome?",
    ),
    "text-to-audio": PredictionForm("Text", "Hello."),
    "automatic-speech-recognition": _AUDIO,
    "audio-classification": _AUDIO,
    "zero-shot-audio-classification": _AUDIO._replace(second=_LABELS, second_example="a dog, rain"),
    "image-classification": _IMAGE,
    "image-feature-extraction": _IMAGE,
    "image-segmentation": _IMAGE,
    "mask-generation": _IMAGE,
    "object-detection": _IMAGE,
    "depth-estimation": _IMAGE,
    "keypoint-matching": _IMAGE._replace(files=("First image", "Second image")),
    "zero-shot-image-classification": _IMAGE._replace(second=_LABELS, second_example="a cat, a dog"),
    "zero-shot-object-detection": _IMAGE._replace(second=_LABELS, second_example="a cat, a dog"),
    "visual-question-answering": _QUESTION,
    "document-question-answering": _QUESTION._replace(text=_WORDS, second_example="What is the total?"),
    "image-text-to-text": _QUESTION._replace(second="Question or beginning of a text (optional)"),
}


def form_of(task: str | None) -> PredictionForm | None:
    """The form for a task; None for a model without a task."""
    return _FORMS.get(task or "")


def title_of(task: str | None) -> str:
    """What the task does, in words; empty for a model without a task."""
    return TASKS[task].title if task in TASKS else ""


def inputs_of(
    task: str, text: str, second: str, uploads: Sequence[Upload], most_tokens: int = _MAX_NEW_TOKENS
) -> tuple[Any, dict[str, Any]]:
    """The fields of a form as (inputs, parameters) of a prediction, with no more than ``most_tokens``."""
    uris = [_data_uri(upload) for upload in uploads]
    uri = uris[0] if uris else ""
    parameters = {"max_new_tokens": min(_MAX_NEW_TOKENS, most_tokens)} if task in _GENERATE else {}
    if task in _COMBINED:
        return _COMBINED[task](text, second, uri), parameters
    if _FORMS[task].second == _LABELS:
        kind = "audio" if _FORMS[task].accept == _AUDIO.accept else "image"
        return {kind: uri, "candidate_labels": _labels(second)}, parameters
    if len(_FORMS[task].files) > 1:
        return uris, parameters
    return (uri if _FORMS[task].files else text), parameters


_GENERATE = ("text-generation", "image-text-to-text")
# The inputs made of text, second text and the first file.
_COMBINED: dict[str, Callable[[str, str, str], Any]] = {
    "text-classification": lambda text, second, _: {"text": text, "text_pair": second} if second else text,
    "zero-shot-classification": lambda text, second, _: {"text": text, "candidate_labels": _labels(second)},
    "question-answering": lambda text, second, _: {"question": second, "context": text},
    "table-question-answering": lambda text, second, _: {"table": _table(text), "query": second},
    "visual-question-answering": lambda _, second, uri: {"image": uri, "question": second},
    "document-question-answering": lambda text, second, uri: {
        "image": uri,
        "question": second,
        **({"word_boxes": _word_boxes(text)} if text.strip() else {}),
    },
    "image-text-to-text": lambda _, second, uri: {"image": uri, "text": second},
}


def _data_uri(upload: Upload) -> str:
    data, media_type = upload
    return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}" if data else ""


def _labels(text: str) -> list[str]:
    return [label.strip() for label in text.split(",") if label.strip()]


def _table(text: str) -> dict[str, list[str]]:
    rows = list(csv.reader(text.strip().splitlines()))
    names = rows[0] if rows else []
    return {name: [row[n] if n < len(row) else "" for row in rows[1:]] for n, name in enumerate(names)}


def _word_boxes(text: str) -> list[Any]:
    """Each word with a place: the lines one below the other, the words of a line beside each other."""
    boxes = []
    for row, line in enumerate(text.splitlines()):
        for column, word in enumerate(line.split()):
            left, top = min(column * _LINE_WIDTH, 900), min(row * _LINE_HEIGHT, 980)
            boxes.append([word, [left, top, left + _LINE_WIDTH, top + _LINE_HEIGHT]])
    return boxes
