"""Converts the JSON inputs of a task, as modelhub.tasks describes them, to what its pipeline takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from modelhub.inference.audio import prepare_audio
from modelhub.inference.chats import prepare_conversation
from modelhub.inference.data_uris import BadInputs
from modelhub.inference.images import decode_image
from modelhub.tasks import expected

_MEDIA_KEYS = frozenset(("url", "path", "image", "images", "audio", "video", "raw", "base64"))
MAX_DEPTH = 32

Prepared = tuple[Any, dict[str, Any]]


def prepare_inputs(task: str, inputs: Any, rate: int) -> Prepared:
    """The inputs, with images as PIL images and audio as arrays at ``rate`` Hz, and parameters among them.

    Raises BadInputs, with an example of what is right.
    """
    try:
        if inputs is None or inputs in ("", [], {}):
            raise BadInputs("they are empty.")
        return _prepare(task, inputs, rate)
    except BadInputs as error:
        error.todo = error.todo or expected(task)
        raise


def _prepare(task: str, inputs: Any, rate: int) -> Prepared:
    if task in _ONE_IMAGE:
        return _each(inputs, _image), {}
    if task in ("automatic-speech-recognition", "audio-classification"):
        if isinstance(inputs, list) and not isinstance(inputs[0], int | float):
            return [prepare_audio(one, rate) for one in inputs], {}
        return prepare_audio(inputs, rate), {}
    if task == "zero-shot-audio-classification":
        audio, labels = _split(inputs, "audio")
        return prepare_audio(audio, rate)["raw"], labels
    if task in _OTHERS:
        return _OTHERS[task](inputs)
    _check_text(inputs)
    return inputs, {}


_ONE_IMAGE = frozenset((
    "image-classification", "image-feature-extraction", "image-segmentation", "mask-generation",
    "object-detection", "depth-estimation",
))  # fmt: skip


def _each(inputs: Any, convert: Callable[[Any], Any]) -> Any:
    return [convert(one) for one in inputs] if isinstance(inputs, list) else convert(inputs)


def _image(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() != {"image"}:
            raise BadInputs("they have other fields than image.")
        value = value["image"]
    return decode_image(value)


def _split(inputs: Any, key: str) -> Prepared:
    """Accept the labels among the inputs too: transformers takes them as a parameter."""
    if not isinstance(inputs, dict):
        return inputs, {}
    rest = {name: value for name, value in inputs.items() if name != key}
    if key not in inputs or rest.keys() - {"candidate_labels"}:
        raise BadInputs(f"they need {key} and candidate_labels.")
    return inputs[key], rest


def _image_and_labels(inputs: Any) -> Prepared:
    image, labels = _split(inputs, "image")
    return _each(image, decode_image), labels


def _text_and_labels(inputs: Any) -> Prepared:
    if isinstance(inputs, dict) and "text_pair" not in inputs:
        inputs, labels = _split(inputs, "text")
    else:
        labels = {}
    _check_text(inputs)
    return inputs, labels


def _image_pair(inputs: Any) -> Prepared:
    images = inputs.get("images") if isinstance(inputs, dict) else inputs
    if not isinstance(images, list) or len(images) != 2:
        raise BadInputs("they are not two images.")
    return [decode_image(image) for image in images], {}


def _image_and_question(inputs: Any) -> Prepared:
    return _each(inputs, _image_question), {}


def _image_question(one: Any) -> dict[str, Any]:
    if not isinstance(one, dict) or not isinstance(one.get("question"), str) or not one["question"].strip():
        raise BadInputs("a question is missing.")
    if one.keys() - {"image", "question", "word_boxes"}:
        raise BadInputs("they have other fields than image and question.")
    return {**one, "image": decode_image(one.get("image"))}


def _question_and_context(inputs: Any) -> Prepared:
    for one in inputs if isinstance(inputs, list) else [inputs]:
        if not isinstance(one, dict) or one.keys() != {"question", "context"}:
            raise BadInputs("they need question and context.")
        if not all(isinstance(text, str) and text.strip() for text in one.values()):
            raise BadInputs("question and context must be texts.")
    return inputs, {}


def _table(inputs: Any) -> Prepared:
    if not isinstance(inputs, dict) or not isinstance(inputs.get("table"), dict):
        raise BadInputs("they need table and query.")
    _check_text(inputs)
    return inputs, {}


_OTHERS: dict[str, Callable[[Any], Prepared]] = {
    "zero-shot-classification": _text_and_labels,
    "zero-shot-image-classification": _image_and_labels,
    "zero-shot-object-detection": _image_and_labels,
    "keypoint-matching": _image_pair,
    "document-question-answering": _image_and_question,
    "visual-question-answering": _image_and_question,
    "question-answering": _question_and_context,
    "table-question-answering": _table,
    "image-text-to-text": lambda inputs: (_each_conversation(inputs), {}),
}


def _each_conversation(inputs: Any) -> Any:
    is_batch = isinstance(inputs, list) and not (isinstance(inputs[0], dict) and "role" in inputs[0])
    return [prepare_conversation(one) for one in inputs] if is_batch else prepare_conversation(inputs)


def _check_text(value: Any, depth: int = 0) -> None:
    """Check the inputs of a text task: texts, lists of them, chat messages, and objects of texts."""
    if depth > MAX_DEPTH:
        raise BadInputs("they are nested too deeply.")
    if isinstance(value, list):
        for item in value:
            _check_text(item, depth + 1)
    elif isinstance(value, dict):
        if _MEDIA_KEYS & value.keys():
            raise BadInputs("the model accepts text only.")
        for item in value.values():
            _check_text(item, depth + 1)
    elif not isinstance(value, str | int | float | bool):
        raise BadInputs("they are neither text nor a list of texts.")
