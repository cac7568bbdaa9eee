"""Converts JSON inputs to what a pipeline takes. Images and audio are part of the request, never a URL."""

from __future__ import annotations

import base64
import binascii
import io
import wave
from typing import Any, TypedDict

import numpy
from PIL import Image

IMAGE_TASKS = frozenset((
    "image-classification", "image-feature-extraction", "image-segmentation", "object-detection",
    "depth-estimation", "zero-shot-image-classification", "zero-shot-object-detection",
    "document-question-answering", "image-text-to-text",
))  # fmt: skip
AUDIO_TASKS = frozenset(("automatic-speech-recognition", "audio-classification"))
_IMAGE_KEYS = ("image", "images")
_MEDIA_KEYS = frozenset(("url", "path", "image", "images", "audio", "video", "raw", "base64"))
MAX_PIXELS = 64 * 10**6
MAX_DEPTH = 32
MAX_RATE = 768_000


class Audio(TypedDict):
    """Audio as pipelines take it: samples from -1 to 1 in one channel, and how many there are in a second."""

    raw: Any
    sampling_rate: int


class BadInputs(ValueError):
    """Inputs that the task cannot use; the message says why, ``todo`` what to do."""

    def __init__(self, why: str, todo: str) -> None:
        self.todo = todo
        super().__init__(why)


def prepare_inputs(task: str, inputs: Any) -> Any:
    """The inputs with every image as a PIL image and all audio as arrays; raises BadInputs."""
    if inputs is None or inputs in ("", [], {}):
        raise BadInputs("they are empty.", _todo(task))
    if task in AUDIO_TASKS:
        return [_audio(item) for item in inputs] if _is_batch(inputs) else _audio(inputs)
    if task in IMAGE_TASKS:
        return [_with_image(item) for item in inputs] if _is_batch(inputs) else _with_image(inputs)
    _check_text(inputs, task)
    return inputs


def _todo(task: str) -> str:
    if task in AUDIO_TASKS:
        return 'Send a WAV file as a base64 data: URI, or {"raw": [...], "sampling_rate": 16000}.'
    if task in IMAGE_TASKS:
        return "Send the image as a base64 data: URI, such as data:image/png;base64,..."
    return "Send a text or a list of texts."


def _is_batch(inputs: Any) -> bool:
    return isinstance(inputs, list) and bool(inputs) and not isinstance(inputs[0], int | float)


def _check_text(value: Any, task: str, depth: int = 0) -> None:
    """Check the inputs of a text task: texts, lists of them, chat messages, and objects of texts."""
    if depth > MAX_DEPTH:
        raise BadInputs("they are nested too deeply.", _todo(task))
    if isinstance(value, list):
        for item in value:
            _check_text(item, task, depth + 1)
    elif isinstance(value, dict):
        if _MEDIA_KEYS & value.keys():
            raise BadInputs("the model accepts text only.", _todo(task))
        for item in value.values():
            _check_text(item, task, depth + 1)
    elif not isinstance(value, str | int | float | bool):
        raise BadInputs("they are neither text nor a list of texts.", _todo(task))


def _with_image(value: Any, depth: int = 0) -> Any:
    """Decode a data: URI; in an object, only the values of keys for images, and the rest stays text."""
    if depth > MAX_DEPTH:
        raise BadInputs("they are nested too deeply.", _todo("image-classification"))
    if isinstance(value, str):
        return decode_image(value)
    if isinstance(value, dict):
        return _object_with_images(value, depth)
    if isinstance(value, list):
        return [_with_image(item, depth + 1) for item in value]
    raise BadInputs("an image is missing.", _todo("image-classification"))


def _object_with_images(fields: dict[str, Any], depth: int) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in fields.items():
        if key in _IMAGE_KEYS:
            result[key] = _with_image(value, depth + 1)
        elif key in ("url", "base64") and fields.get("type") == "image":
            result["image"] = decode_image(value)
        elif key in _MEDIA_KEYS:
            raise BadInputs(f"{key} is not accepted.", _todo("image-classification"))
        elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
            result[key] = [_message(item, depth + 1) for item in value]
        else:
            result[key] = _message(value, depth + 1)
    return result


def _message(item: Any, depth: int) -> Any:
    return _object_with_images(item, depth) if isinstance(item, dict) else item


def decode_image(uri: Any) -> Any:
    """The RGB image in a base64 data: URI; raises BadInputs for anything else, and past 64 megapixels."""
    try:
        image = Image.open(io.BytesIO(_decode(uri, "image-classification")))
        if image.width * image.height > MAX_PIXELS:
            raise BadInputs(f"an image has more than {MAX_PIXELS} pixels.", "Send a smaller image.")
        return image.convert("RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadInputs("an image cannot be read.", "Send a PNG, JPEG, WebP or GIF image.") from error


def _audio(value: Any) -> Any:
    """``{"raw": array, "sampling_rate": Hz}`` from the same with a list, or from a WAV file's data: URI."""
    if isinstance(value, str):
        return decode_wave(value)
    if isinstance(value, dict) and isinstance(value.get("audio"), str):
        return decode_wave(value["audio"])
    if isinstance(value, dict) and value.keys() == {"raw", "sampling_rate"}:
        raw, rate = value["raw"], value["sampling_rate"]
        if isinstance(raw, list) and type(rate) is int and 0 < rate <= MAX_RATE:
            return {"raw": _samples(raw), "sampling_rate": rate}
    if isinstance(value, list):
        return _samples(value)
    raise BadInputs("they contain no audio.", _todo("audio-classification"))


def _samples(values: list[Any]) -> Any:
    try:
        samples = numpy.asarray(values, dtype=numpy.float32)
    except (TypeError, ValueError) as error:
        raise BadInputs("raw is not a list of numbers.", _todo("audio-classification")) from error
    if samples.ndim != 1 or samples.size == 0 or not numpy.isfinite(samples).all():
        raise BadInputs("raw is not a flat list of numbers.", _todo("audio-classification"))
    return samples


def decode_wave(uri: str) -> Audio:
    """The audio of a WAV file (PCM of 8, 16 or 32 bits): the mean of its channels, from -1 to 1."""
    try:
        with wave.open(io.BytesIO(_decode(uri, "audio-classification"))) as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            data = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise BadInputs("the audio cannot be read.", "Send a WAV file with PCM samples.") from error
    if width not in (1, 2, 4) or not data:
        raise BadInputs(f"a WAV file with {8 * width} bits is not supported.", "Send PCM of 16 bits.")
    samples = numpy.frombuffer(data, dtype={1: "u1", 2: "<i2", 4: "<i4"}[width]).astype(numpy.float32)
    samples = samples / 2.0 ** (8 * width - 1) - (1.0 if width == 1 else 0.0)
    return {"raw": samples.reshape(-1, channels).mean(axis=1), "sampling_rate": rate}


def _decode(uri: Any, task: str) -> bytes:
    if not isinstance(uri, str) or not uri.startswith("data:"):
        raise BadInputs("URLs and file names are not accepted.", _todo(task))
    head, comma, body = uri.partition(",")
    if not comma or not head.endswith(";base64"):
        raise BadInputs("the data: URI is not base64.", _todo(task))
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadInputs("the data: URI is not valid base64.", _todo(task)) from error
