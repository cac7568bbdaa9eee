"""What each task takes and returns: the table behind /openapi.json, /docs, the forms and error messages."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from modelhub import task_parameters as of
from modelhub.task_parameters import BOOLEAN, JsonSchema, Parameter, texts, whole

# A red square of 64 by 64 pixels, and a tenth of a second of silence as FLAC.
EXAMPLE_IMAGE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAEAAAABAAQMAAACQp+OdAAAAA1BMVEXIHh4WiPieAA"
    "AAD0lEQVR42mNgGAWjgHwAAAJAAAHgTR1EAAAAAElFTkSuQmCC"
)
EXAMPLE_AUDIO = (
    "data:audio/flac;base64,ZkxhQwAAACIQABAAAAANAAANA+gA8AAABkCfCt/b50DLnNgYijV2HiR2hAAAKCAAA"
    "AByZWZlcmVuY2UgbGliRkxBQyAxLjQuMyAyMDIzMDYyMwAAAAD/+HUIAAY/NAAAAGe/"
)
_MAX_URI = 30


class Task(NamedTuple):
    """One task: ``inputs`` is a JSON schema, ``example`` fits it, ``parameters`` say what each does."""

    title: str
    inputs: JsonSchema
    example: Any
    parameters: dict[str, Parameter]
    outputs: str


def _list_or(one: JsonSchema) -> JsonSchema:
    return {"anyOf": [one, {"type": "array", "items": one}]}


def _object(optional: dict[str, JsonSchema] | None = None, **required: JsonSchema) -> JsonSchema:
    return {"type": "object", "properties": {**required, **(optional or {})}, "required": list(required)}


_TEXT: JsonSchema = {"type": "string"}
_LABELS: JsonSchema = {"type": "array", "items": _TEXT}
_IMAGE: JsonSchema = {
    "type": "string",
    "pattern": "^data:",
    "description": "A PNG, JPEG, WebP or GIF image as a base64 data: URI.",
}
_AUDIO: JsonSchema = {
    "anyOf": [
        {
            "type": "string",
            "pattern": "^data:",
            "description": "A WAV, FLAC, MP3 or OGG file as a base64 data: URI.",
        },
        _object(raw={"type": "array", "items": {"type": "number"}}, sampling_rate={"type": "integer"}),
    ]
}
_MESSAGES: JsonSchema = {
    "type": "array",
    "items": _object(role=_TEXT, content={"anyOf": [_TEXT, {"type": "array", "items": {"type": "object"}}]}),
    "description": "Chat messages.",
}
_ONE_IMAGE: JsonSchema = _list_or({"anyOf": [_IMAGE, _object(image=_IMAGE)]})
_IMAGE_AND_LABELS = _object(image=_IMAGE, candidate_labels=_LABELS)
_PAIR = _object(text=_TEXT, text_pair=_TEXT)
_WORD_BOX: JsonSchema = {
    "type": "array",
    "description": "[word, [left, top, right, bottom]], from 0 to 1000.",
}

_LABELS_OUT = "A list of {label, score}, the highest score first."
_MASKS_OUT = "A list of {label, score, mask}; the mask is a PNG image as a data: URI."
_BOXES_OUT = "A list of {label, score, box}; the box is {xmin, ymin, xmax, ymax} in pixels."
_NEW_TEXT = "A list with {generated_text}: the new text only."
_ANSWERS_OUT = "A list of {answer, score}, the highest score first."


def _full_text(meaning: str) -> dict[str, Parameter]:
    return {"return_full_text": Parameter(meaning, BOOLEAN)}


TASKS: dict[str, Task] = {
    # Text
    "text-generation": Task(
        "Continues a text or a chat",
        {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}, _MESSAGES]},
        "Once upon a time",
        {**of.GENERATION, **_full_text("false returns the new text only."), **of.CHAT, **of.TOOLS},
        "A list with {generated_text}: the text and its continuation, or the chat with a new message.",
    ),
    "text2text-generation": Task(
        "Turns a text into another: translation, summary",
        _list_or(_TEXT),
        "translate English to German: How are you?",
        of.GENERATION,
        "A list of {generated_text}, one for each text.",
    ),
    "fill-mask": Task(
        "Fills in a masked word",
        _list_or(_TEXT),
        "The cat sat on the [MASK].",
        {**of.TOP_K, "targets": Parameter("Words to choose from.", texts(1_000))},
        "A list of {sequence, token_str, token, score}, the highest score first.",
    ),
    "text-classification": Task(
        "Classifies a text, or a pair of texts",
        _list_or({"anyOf": [_TEXT, _PAIR]}),
        {"text": "A man plays the guitar.", "text_pair": "Somebody makes music."},
        {**of.TOP_K, **of.FUNCTION, **of.TRUNCATION},
        _LABELS_OUT,
    ),
    "zero-shot-classification": Task(
        "Says which of your labels fits a text, or what one text says about another",
        {"anyOf": [_object(text=_TEXT, candidate_labels=_LABELS), _PAIR]},
        {"text": "My phone will not start.", "candidate_labels": ["phone", "garden", "music"]},
        {
            **of.LABELS,
            **of.TEMPLATE,
            "multi_label": Parameter("true scores each label by itself.", BOOLEAN),
            **of.TOP_K,
            **of.FUNCTION,
        },
        "{sequence, labels, scores}, the highest score first; for {text, text_pair} {label, score}.",
    ),
    "token-classification": Task(
        "Marks names and other parts of a text",
        _list_or(_TEXT),
        "Ada Lovelace lived in London.",
        {
            "aggregation_strategy": Parameter(
                "How tokens are joined to words.", {"enum": ["none", "simple", "first", "average", "max"]}
            ),
            "ignore_labels": Parameter("Labels that are not returned.", texts(1_000)),
            "stride": Parameter(
                "Read a long text in pieces that overlap by so many tokens.", whole(0, 10_000)
            ),
        },
        "A list of {entity, score, word, start, end}.",
    ),
    "question-answering": Task(
        "Finds the answer to a question in a text",
        _list_or(_object(question=_TEXT, context=_TEXT)),
        {"question": "Where did Ada live?", "context": "Ada Lovelace lived in London."},
        {**of.TOP_K, **of.ANSWER},
        "A list of {answer, score, start, end}; start and end count characters of the context.",
    ),
    "table-question-answering": Task(
        "Answers a question about a table",
        _object(table={"type": "object", "additionalProperties": _LABELS}, query=_TEXT),
        {
            "table": {"City": ["Paris", "Rome"], "People": ["2100000", "2800000"]},
            "query": "How many in Rome?",
        },
        {},
        "{answer, coordinates, cells, aggregator}.",
    ),
    "feature-extraction": Task(
        "Turns a text into numbers (embeddings)",
        _list_or(_TEXT),
        "The cat sat on the mat.",
        of.TRUNCATION,
        "For each text a list with one row of numbers for each token.",
    ),
    # Audio
    "text-to-audio": Task(
        "Speaks a text",
        _list_or(_TEXT),
        "Hello.",
        of.VOICE,
        "{audio, sampling_rate}; the audio is a WAV file as a data: URI.",
    ),
    "automatic-speech-recognition": Task(
        "Writes down what is said",
        _list_or(_AUDIO),
        EXAMPLE_AUDIO,
        {**of.SPEECH, **of.GENERATION},
        "{text}, with return_timestamps also chunks.",
    ),
    "audio-classification": Task(
        "Classifies a sound", _list_or(_AUDIO), EXAMPLE_AUDIO, {**of.TOP_K, **of.FUNCTION}, _LABELS_OUT
    ),
    "zero-shot-audio-classification": Task(
        "Says which of your labels fits a sound",
        _object(audio=_AUDIO, candidate_labels=_LABELS),
        {"audio": EXAMPLE_AUDIO, "candidate_labels": ["a dog", "rain"]},
        {**of.LABELS, **of.TEMPLATE},
        _LABELS_OUT,
    ),
    # Images
    "image-classification": Task(
        "Classifies an image", _ONE_IMAGE, EXAMPLE_IMAGE, {**of.TOP_K, **of.FUNCTION}, _LABELS_OUT
    ),
    "image-feature-extraction": Task(
        "Turns an image into numbers (embeddings)",
        _ONE_IMAGE,
        EXAMPLE_IMAGE,
        {"pool": Parameter("true returns one row of numbers for the whole image.", BOOLEAN)},
        "A list with one row of numbers for each part of the image.",
    ),
    "image-segmentation": Task(
        "Marks the areas of an image",
        _ONE_IMAGE,
        EXAMPLE_IMAGE,
        of.SEGMENTS,
        _MASKS_OUT,
    ),
    "mask-generation": Task(
        "Finds the outlines of everything in an image",
        _ONE_IMAGE,
        EXAMPLE_IMAGE,
        of.MASKS,
        _MASKS_OUT,
    ),
    "object-detection": Task(
        "Finds objects in an image", _ONE_IMAGE, EXAMPLE_IMAGE, of.THRESHOLD, _BOXES_OUT
    ),
    "depth-estimation": Task(
        "Estimates how far away everything in an image is",
        _ONE_IMAGE,
        EXAMPLE_IMAGE,
        {},
        "{depth, predicted_depth}: a PNG image as a data: URI, and the numbers in rows.",
    ),
    "keypoint-matching": Task(
        "Finds the same points in two images",
        {"type": "array", "items": _IMAGE, "minItems": 2, "maxItems": 2},
        [EXAMPLE_IMAGE, EXAMPLE_IMAGE],
        of.THRESHOLD,
        "A list of {keypoint_image_0, keypoint_image_1, score}; a keypoint is {x, y} in pixels.",
    ),
    "zero-shot-image-classification": Task(
        "Says which of your labels fits an image",
        _IMAGE_AND_LABELS,
        {"image": EXAMPLE_IMAGE, "candidate_labels": ["a cat", "a dog"]},
        {**of.LABELS, **of.TEMPLATE},
        _LABELS_OUT,
    ),
    "zero-shot-object-detection": Task(
        "Finds what you name in an image",
        _IMAGE_AND_LABELS,
        {"image": EXAMPLE_IMAGE, "candidate_labels": ["a cat", "a dog"]},
        {**of.LABELS, **of.THRESHOLD, **of.TOP_K},
        _BOXES_OUT,
    ),
    # Images and text
    "image-text-to-text": Task(
        "Describes an image, or answers a question about it",
        {"anyOf": [_object({"text": _TEXT}, image=_IMAGE), _MESSAGES]},
        {"image": EXAMPLE_IMAGE, "text": "What is in this picture?"},
        {
            **of.GENERATION,
            **_full_text("true returns the text of the request too, without its image."),
            **of.CHAT,
        },
        _NEW_TEXT,
    ),
    "visual-question-answering": Task(
        "Answers a question about an image",
        _object(image=_IMAGE, question=_TEXT),
        {"image": EXAMPLE_IMAGE, "question": "What colour is it?"},
        {**of.GENERATION, **of.TOP_K},
        _ANSWERS_OUT,
    ),
    "document-question-answering": Task(
        "Answers a question about a document",
        _object({"word_boxes": {"type": "array", "items": _WORD_BOX}}, image=_IMAGE, question=_TEXT),
        {
            "image": EXAMPLE_IMAGE,
            "question": "What is the total?",
            "word_boxes": [["Total", [10, 10, 60, 30]], ["42", [70, 10, 90, 30]]],
        },
        {**of.TOP_K, **of.ANSWER, "handle_impossible_answer": Parameter("true allows no answer.", BOOLEAN)},
        _ANSWERS_OUT,
    ),
}


def expected(task: str) -> str:
    """``Send inputs such as ...``: the example of a task, with its data: URIs cut."""
    return f"Send inputs such as {json.dumps(_shortened(TASKS[task].example), ensure_ascii=False)}"


def _shortened(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("data:"):
        return f"{value[:_MAX_URI].partition(',')[0]},..."
    if isinstance(value, dict):
        return {key: _shortened(item) for key, item in value.items()}
    return [_shortened(item) for item in value] if isinstance(value, list) else value
