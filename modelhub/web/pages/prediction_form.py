"""Trying a model out on its page: which form its task needs, and what the form's fields are as inputs."""

from __future__ import annotations

import base64
from typing import Any, NamedTuple

_MAX_NEW_TOKENS = 60


class TrialForm(NamedTuple):
    """The fields of the form: a text (labelled, with an example) or a file, and perhaps a second text."""

    text: str = ""
    example: str = ""
    file: str = ""
    accept: str = ""
    second: str = ""
    second_example: str = ""


_IMAGE = TrialForm(file="Image", accept="image/png,image/jpeg,image/webp,image/gif")
_LABELLED = _IMAGE._replace(second="Labels to choose from, with commas", second_example="a cat, a dog")
_ASKED = _IMAGE._replace(second="Question", second_example="What is the total?")
_SOUND = TrialForm(file="Sound: a WAV file", accept="audio/wav,audio/x-wav,.wav")
_FORMS: dict[str, TrialForm] = {
    "text-generation": TrialForm("Text to go on with", "Once upon a time"),
    "text2text-generation": TrialForm("Text", "translate English to German: How are you?"),
    "feature-extraction": TrialForm("Text", "A sentence to be made into numbers"),
    "fill-mask": TrialForm("Text with the model's mask token for a missing word", "hello [MASK]"),
    "text-classification": TrialForm("Text", "This is wonderful."),
    "token-classification": TrialForm("Text", "Ada Lovelace lived in London."),
    "text-to-audio": TrialForm("Text", "Hello."),
    "automatic-speech-recognition": _SOUND,
    "audio-classification": _SOUND,
    "image-classification": _IMAGE,
    "image-feature-extraction": _IMAGE,
    "image-segmentation": _IMAGE,
    "object-detection": _IMAGE,
    "depth-estimation": _IMAGE,
    "zero-shot-image-classification": _LABELLED,
    "zero-shot-object-detection": _LABELLED,
    "document-question-answering": _ASKED,
    "image-text-to-text": _ASKED._replace(second_example="What is in this picture?"),
}


def form_of(task: str | None) -> TrialForm | None:
    """The form for a task; None where there is nothing that could be tried."""
    return _FORMS.get(task or "")


def inputs_of(task: str, text: str, second: str, file: tuple[bytes, str]) -> tuple[Any, dict[str, Any]]:
    """The fields of a form as (inputs, parameters) of a prediction; ``file`` is its bytes and media type."""
    form = _FORMS[task]
    if form.text:
        return text, {"max_new_tokens": _MAX_NEW_TOKENS} if task == "text-generation" else {}
    data, media_type = file
    uri = f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}" if data else ""
    if form is _LABELLED:
        return uri, {"candidate_labels": [label.strip() for label in second.split(",") if label.strip()]}
    if task == "document-question-answering":
        return {"image": uri, "question": second}, {}
    if task == "image-text-to-text":
        content = [{"type": "image", "url": uri}, {"type": "text", "text": second}]
        return [{"role": "user", "content": content}], {"max_new_tokens": _MAX_NEW_TOKENS}
    return uri, {}
