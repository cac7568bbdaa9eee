"""OpenAI's transcriptions: a sound as a form's file, what is said in it as text."""

from __future__ import annotations

import base64
import io
import json
import wave
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from flask import request

from modelhub.core.registry import Registry
from modelhub.web.dialects.fields import BadField, Fields
from modelhub.web.dialects.keeping import keep_s

_FORMATS = ("json", "text", "verbose_json")
_TRUE = ("true", "1", "on", "yes")
_FORM = "multipart/form-data"
_WHISPER, _CTC = "Whisper", "ForCTC"  # the names of architectures begin, or end, so


class Wanted(NamedTuple):
    """What a request asks for; ``data`` are the bytes of a sound file."""

    model: str | None
    data: bytes
    format: str
    language: str | None
    temperature: float
    words: bool
    stream: bool
    keep_s: float | None


def transcription_request() -> Wanted:
    """What the form of the current request asks for; raises BadField."""
    if request.mimetype != _FORM:
        raise BadField("file", f"The body must be a form: {_FORM}.")
    file = request.files.get("file")
    if file is None:
        raise BadField("file", "It is missing.")
    form: Mapping[str, str] = request.form
    fields = Fields(form)
    fields.only("prompt", "")
    fields.only("response_format", *_FORMATS)
    fields.only("chunking_strategy", "auto")
    if request.form.getlist("include[]") or request.form.getlist("include"):
        raise fields.refuse("include", "Nothing is supported here.")
    granularities = request.form.getlist("timestamp_granularities[]")
    return Wanted(
        form.get("model"),
        file.read(),
        form.get("response_format") or "json",
        form.get("language") or None,
        _temperature(fields),
        "word" in granularities,
        form.get("stream", "").lower() in _TRUE,
        keep_s(Fields({"keep_alive": form.get("keep_alive")})),
    )


def _temperature(fields: Fields) -> float:
    text = fields.text("temperature") or "0"
    try:
        value: Any = float(text)
    except ValueError:
        value = text
    return Fields({"temperature": value}).number("temperature", 0, 1) or 0.0


def transcribe(registry: Registry, model_id: str, wanted: Wanted, has_left: Callable[[], bool]) -> bytes:
    """Have a model that is in memory write down what is said; returns a Prediction as JSON."""
    uri = "data:application/octet-stream;base64," + base64.b64encode(wanted.data).decode("ascii")
    parameters = _parameters(registry, model_id, wanted)
    return registry.predict(model_id, uri, parameters, has_left, keep_s=wanted.keep_s)


def tells_segments(registry: Registry, model_id: str, wanted: Wanted) -> bool:
    """Whether what the model says with times are segments, and not words."""
    return _parameters(registry, model_id, wanted).get("return_timestamps") is True


def _parameters(registry: Registry, model_id: str, wanted: Wanted) -> dict[str, Any]:
    """Those that the kind of model has: only Whisper knows languages, others have times of words or none."""
    architecture = registry.snapshot(model_id).get("architecture") or ""
    found: dict[str, Any] = {}
    is_whisper = architecture.startswith(_WHISPER)
    if wanted.format == "verbose_json" and (is_whisper or architecture.endswith(_CTC)):
        found["return_timestamps"] = True if is_whisper and not wanted.words else "word"
    if is_whisper:
        generate: dict[str, Any] = {"language": wanted.language} if wanted.language else {}
        if wanted.temperature:
            generate |= {"do_sample": True, "temperature": max(wanted.temperature, 0.01)}
        if generate:
            found["generate_kwargs"] = generate
    return found


def transcription(wanted: Wanted, prediction: bytes, has_segments: bool = False) -> dict[str, Any]:
    """The answer: ``text``, and for ``verbose_json`` what is known of when it was said."""
    outputs = json.loads(prediction)["outputs"]
    text = str(outputs.get("text", "")).strip()
    if wanted.format != "verbose_json":
        return {"text": text}
    chunks = [_chunk(one) for one in outputs.get("chunks") or ()]
    seconds = _seconds(wanted.data)
    duration = seconds if seconds is not None else max((end for _, _, end in chunks), default=0.0)
    found: dict[str, Any] = {"task": "transcribe", "language": wanted.language, "duration": duration}
    whole = chunks if has_segments and chunks else [(text, 0.0, duration)]
    found |= {"text": text, "segments": [_segment(place, *one) for place, one in enumerate(whole)]}
    if wanted.words:
        found["words"] = [{"word": said.strip(), "start": start, "end": end} for said, start, end in chunks]
    return found


def _chunk(given: dict[str, Any]) -> tuple[str, float, float]:
    """What was said, from when to when; where Whisper does not say when it ends, it has no length."""
    start, end = given["timestamp"]
    begin = float(start or 0.0)
    return str(given["text"]), begin, float(begin if end is None else end)


def _segment(place: int, text: str, start: float, end: float) -> dict[str, Any]:
    return {"id": place, "text": text, "start": start, "end": end}


def _seconds(data: bytes) -> float | None:
    """How long a WAV file is; None for any other."""
    try:
        with wave.open(io.BytesIO(data)) as file:
            return float(file.getnframes() / file.getframerate())
    except (wave.Error, EOFError, ZeroDivisionError):
        return None


def transcription_events(wanted: Wanted, prediction: bytes) -> Iterator[dict[str, Any]]:
    """The answer as events: models write it in one piece."""
    text = transcription(wanted, prediction)["text"]
    if text:
        yield {"type": "transcript.text.delta", "delta": text}
    yield {"type": "transcript.text.done", "text": text}
