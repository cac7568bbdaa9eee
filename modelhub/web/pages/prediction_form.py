"""The prediction form on a model's page: which fields its task needs, and the fields as inputs."""

from __future__ import annotations

import base64
from typing import Any, NamedTuple

_MAX_NEW_TOKENS = 60


class PredictionForm(NamedTuple):
    """The fields of a form: labels and examples of a text or a file, and perhaps of a second text."""

    text: str = ""
    example: str = ""
    file: str = ""
    accept: str = ""
    second: str = ""
    second_example: str = ""


_IMAGE = PredictionForm(file="Image", accept="image/png,image/jpeg,image/webp,image/gif")
_LABELS = _IMAGE._replace(second="Labels to choose from, separated by commas", second_example="a cat, a dog")
_QUESTION = _IMAGE._replace(second="Question", second_example="What is the total?")
_AUDIO = PredictionForm(file="Audio: a WAV file", accept="audio/wav,audio/x-wav,.wav")
_FORMS: dict[str, PredictionForm] = {
    "text-generation": PredictionForm("Prompt", "Once upon a time"),
    "text2text-generation": PredictionForm("Text", "translate English to German: How are you?"),
    "feature-extraction": PredictionForm("Sentence to embed", "The cat sat on the mat."),
    "fill-mask": PredictionForm("Text with the model's mask token in place of a word", "hello [MASK]"),
    "text-classification": PredictionForm("Text", "This is wonderful."),
    "token-classification": PredictionForm("Text", "Ada Lovelace lived in London."),
    "text-to-audio": PredictionForm("Text", "Hello."),
    "automatic-speech-recognition": _AUDIO,
    "audio-classification": _AUDIO,
    "image-classification": _IMAGE,
    "image-feature-extraction": _IMAGE,
    "image-segmentation": _IMAGE,
    "object-detection": _IMAGE,
    "depth-estimation": _IMAGE,
    "zero-shot-image-classification": _LABELS,
    "zero-shot-object-detection": _LABELS,
    "document-question-answering": _QUESTION,
    "image-text-to-text": _QUESTION._replace(second_example="What is in this picture?"),
}


def form_of(task: str | None) -> PredictionForm | None:
    """The form for a task; None for a model without a task."""
    return _FORMS.get(task or "")


def inputs_of(task: str, text: str, second: str, file: tuple[bytes, str]) -> tuple[Any, dict[str, Any]]:
    """The fields of a form as (inputs, parameters) of a prediction; ``file`` is its bytes and media type."""
    form = _FORMS[task]
    if form.text:
        return text, {"max_new_tokens": _MAX_NEW_TOKENS} if task == "text-generation" else {}
    data, media_type = file
    uri = f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}" if data else ""
    if form is _LABELS:
        return uri, {"candidate_labels": [label.strip() for label in second.split(",") if label.strip()]}
    if task == "document-question-answering":
        return {"image": uri, "question": second}, {}
    if task == "image-text-to-text":
        content = [{"type": "image", "url": uri}, {"type": "text", "text": second}]
        return [{"role": "user", "content": content}], {"max_new_tokens": _MAX_NEW_TOKENS}
    return uri, {}
