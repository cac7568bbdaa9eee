"""Converts the JSON inputs of a task, as modelhub.tasks describes them, to what its pipeline takes.

Everything is made anew from what a task allows, so that nothing else reaches transformers, whose pipelines
fetch addresses and open paths, and pass on to tokenizers and processors what they do not know.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from modelhub.inference.audio import prepare_audio
from modelhub.inference.chats import is_chat, prepare_conversation, text_chat
from modelhub.inference.data_uris import BadInputs
from modelhub.inference.images import decode_image
from modelhub.inference.quota import Quota
from modelhub.tasks import expected

_MAX_CELLS = 100_000
_MAX_WORDS = 10_000
_PLACE = range(1_001)

Prepared = tuple[Any, dict[str, Any]]


def prepare_inputs(task: str, inputs: Any, quota: Quota) -> Prepared:
    """The inputs, with images as PIL images and audio as arrays, and the parameters among them.

    Raises BadInputs, with an example of what is right.
    """
    try:
        if inputs is None or inputs in ("", [], {}):
            raise BadInputs("they are empty.")
        return _PREPARE[task](inputs, quota)
    except BadInputs as error:
        error.todo = error.todo or expected(task)
        raise


def _each(convert: Callable[[Any, Quota], Any]) -> Callable[[Any, Quota], Prepared]:
    """The conversion of one input, or of a list of them."""

    def prepare(inputs: Any, quota: Quota) -> Prepared:
        if isinstance(inputs, list):
            return [convert(one, quota) for one in quota.count(inputs)], {}
        return convert(inputs, quota), {}

    return prepare


def _fields(value: Any, *required: str, optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """``value`` if it is an object with these fields and no others."""
    names = " and ".join(required)
    if not isinstance(value, dict) or set(required) - value.keys():
        raise BadInputs(f"they need {names}.")
    if value.keys() - set(required) - set(optional):
        raise BadInputs(f"they have other fields than {' and '.join((*required, *optional))}.")
    return value


# Text


def _text(value: Any, quota: Quota) -> str:
    return quota.text(value)


def _text_or_chat(inputs: Any, quota: Quota) -> Prepared:
    if is_chat(inputs):
        return text_chat(inputs, quota), {}
    if isinstance(inputs, list) and is_chat(inputs[0]):
        return [text_chat(_chat(one), quota) for one in quota.count(inputs)], {}
    return _each(_text)(inputs, quota)


def _chat(inputs: Any) -> list[Any]:
    if not is_chat(inputs):
        raise BadInputs("they are neither texts nor chats.")
    return list(inputs)


def _text_or_pair(value: Any, quota: Quota) -> Any:
    if isinstance(value, str):
        return quota.text(value)
    fields = _fields(value, "text", optional=("text_pair",))
    return {name: quota.text(one) for name, one in fields.items()}


def _text_and_labels(inputs: Any, quota: Quota) -> Prepared:
    if isinstance(inputs, dict) and "text_pair" not in inputs:
        inputs, labels = _split(inputs, "text")
        return quota.text(inputs), labels
    return _each(_text_or_pair)(inputs, quota)


def _split(inputs: Any, key: str) -> Prepared:
    """Accept the labels among the inputs too: transformers takes them as a parameter."""
    fields = _fields(inputs, key, optional=("candidate_labels",))
    return fields[key], {name: value for name, value in fields.items() if name != key}


def _question_and_context(value: Any, quota: Quota) -> dict[str, str]:
    fields = _fields(value, "question", "context")
    texts = {name: quota.text(text, "question or context") for name, text in fields.items()}
    if not all(text.strip() for text in texts.values()):
        raise BadInputs("question and context must be texts.")
    return texts


def _table(inputs: Any, quota: Quota) -> Prepared:
    fields = _fields(inputs, "table", "query")
    table = fields["table"]
    if not isinstance(table, dict) or not all(isinstance(column, list) for column in table.values()):
        raise BadInputs("the table is no object of lists.")
    if sum(map(len, table.values())) > _MAX_CELLS or len(table) > _MAX_CELLS:
        raise BadInputs(f"the table has more than {_MAX_CELLS} cells.", "Send a smaller table.")
    columns = {
        quota.text(name): [quota.text(_cell(cell), "a cell of the table") for cell in column]
        for name, column in table.items()
    }
    return {"table": columns, "query": quota.text(fields["query"], "query")}, {}


def _cell(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) else value


# Sounds


def _sounds(inputs: Any, quota: Quota) -> Prepared:
    if isinstance(inputs, list) and not isinstance(inputs[0], int | float):
        return [prepare_audio(one, quota) for one in quota.count(inputs)], {}
    return prepare_audio(inputs, quota), {}


def _sound_and_labels(inputs: Any, quota: Quota) -> Prepared:
    audio, labels = _split(inputs, "audio") if _has(inputs, "audio") else (inputs, {})
    return prepare_audio(audio, quota)["raw"], labels


def _has(inputs: Any, key: str) -> bool:
    return isinstance(inputs, dict) and key in inputs


# Images


def _image(value: Any, quota: Quota) -> Any:
    return decode_image(_fields(value, "image")["image"] if isinstance(value, dict) else value, quota)


def _image_and_labels(inputs: Any, quota: Quota) -> Prepared:
    image, labels = _split(inputs, "image") if isinstance(inputs, dict) else (inputs, {})
    prepared, _ = _each(decode_image)(image, quota)
    return prepared, labels


def _image_pair(inputs: Any, quota: Quota) -> Prepared:
    images = _fields(inputs, "images")["images"] if isinstance(inputs, dict) else inputs
    if not isinstance(images, list) or len(images) != 2:
        raise BadInputs("they are not two images.")
    return [decode_image(image, quota) for image in images], {}


def _image_question(value: Any, quota: Quota) -> dict[str, Any]:
    fields = _fields(value, "question", optional=("image", "word_boxes"))
    if not quota.text(fields["question"], "a question").strip():
        raise BadInputs("a question is missing.")
    prepared = {"question": fields["question"], "image": decode_image(fields.get("image"), quota)}
    if "word_boxes" in fields:
        prepared["word_boxes"] = _word_boxes(fields["word_boxes"], quota)
    return prepared


def _word_boxes(value: Any, quota: Quota) -> list[Any]:
    if not isinstance(value, list) or not value or len(value) > _MAX_WORDS:
        raise BadInputs(f"word_boxes must be a list of at most {_MAX_WORDS} words.")
    boxes = []
    for pair in value:
        word, box = pair if isinstance(pair, list) and len(pair) == 2 else (None, None)
        if not isinstance(box, list) or len(box) != 4 or not all(type(n) is int and n in _PLACE for n in box):
            raise BadInputs("each of word_boxes must be a word and four whole numbers from 0 to 1000.")
        boxes.append([quota.text(word, "a word of word_boxes"), box])
    return boxes


def _conversations(inputs: Any, quota: Quota) -> Prepared:
    is_batch = isinstance(inputs, list) and not (isinstance(inputs[0], dict) and "role" in inputs[0])
    if is_batch:
        return [prepare_conversation(one, quota) for one in quota.count(inputs)], {}
    return prepare_conversation(inputs, quota), {}


_PREPARE: dict[str, Callable[[Any, Quota], Prepared]] = {
    "text-generation": _text_or_chat,
    "text2text-generation": _each(_text),
    "fill-mask": _each(_text),
    "text-classification": _each(_text_or_pair),
    "zero-shot-classification": _text_and_labels,
    "token-classification": _each(_text),
    "question-answering": _each(_question_and_context),
    "table-question-answering": _table,
    "feature-extraction": _each(_text),
    "text-to-audio": _each(_text),
    "automatic-speech-recognition": _sounds,
    "audio-classification": _sounds,
    "zero-shot-audio-classification": _sound_and_labels,
    **dict.fromkeys(
        (
            "image-classification", "image-feature-extraction", "image-segmentation", "mask-generation",
            "object-detection", "depth-estimation",
        ),
        _each(_image),
    ),
    "keypoint-matching": _image_pair,
    "zero-shot-image-classification": _image_and_labels,
    "zero-shot-object-detection": _image_and_labels,
    "image-text-to-text": _conversations,
    "visual-question-answering": _each(_image_question),
    "document-question-answering": _each(_image_question),
}  # fmt: skip
