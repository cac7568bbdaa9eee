"""What Ollama's clients send, as what the core takes. Fields that Ollama does not know are left out."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Iterator
from typing import Any

from flask import request

from modelhub.generation import GenerationRequest, Message, Sampling
from modelhub.web.bodies import MAX_LARGE_VALUES, read_json
from modelhub.web.dialects.fields import MANY, BadField, Fields
from modelhub.web.security import refuse_silent_browser

_LATEST = ":latest"  # Ollama's clients add it to a name without a tag
_MEDIA_TYPES = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8", "image/jpeg"),
    (b"RIFF", "image/webp"),
    (b"GIF8", "image/gif"),
)
# What each option is called in ``Sampling``; those that are not here are of Ollama's runner, and left out.
_NUMBERS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "min_p": "min_p",
    "repeat_penalty": "repetition_penalty",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
}
_THINKING = ("low", "medium", "high")
_MOST_TOP_LOGPROBS = 20
_REFUSED = {
    "suffix": "modelhub does not fill in the middle of a text.",
    "template": "modelhub uses the model's own chat template. Send raw with a prompt of your own.",
    "context": "modelhub keeps no tokens between requests. Send a chat to /api/chat.",
}
_NO_FORMAT = "modelhub cannot hold an answer to a format. Ask for it in the prompt."


def read_fields() -> Fields:
    """The fields of the body; raises ``invalid_request`` (400).

    It is JSON whatever its Content-Type says, since curl names another one by itself. So a form of another
    site's page could send it: raises ``cross_site`` for a browser that does not say whose page it was.
    """
    if request.mimetype != "application/json":
        refuse_silent_browser()
    body = read_json(request.get_data() or b"{}", MAX_LARGE_VALUES)
    if not isinstance(body, dict):
        raise BadField("body", "It must be an object.")
    return Fields(body)


def model_name(fields: Fields) -> str:
    """The model that a body names, by ``model`` or as older clients do by ``name``; without ``:latest``."""
    name = (fields.text("model") or fields.text("name") or "").strip()
    if not name:
        raise BadField("model", "Name one.")
    return name.removesuffix(_LATEST)


def streams(fields: Fields) -> bool:
    """Whether the answer is sent piece by piece, as it is unless the client says otherwise."""
    return fields.flag("stream") is not False


def chat_request(fields: Fields) -> GenerationRequest | None:
    """The request of a chat; None where there are no messages."""
    messages = list(_messages(fields.items("messages") or []))
    if not messages:
        return None
    asked = _common(fields)
    asked["messages"] = messages
    if tools := fields.items("tools"):
        asked["tools"] = [_object(tool, f"tools.{number}") for number, tool in enumerate(tools)]
    if messages[-1]["role"] == "assistant" and not messages[-1].get("tool_calls"):
        asked["continues"] = True
    return asked


def generate_request(fields: Fields, chats: bool) -> GenerationRequest | None:
    """The request of a prompt: a chat of one message with a model that ``chats``, else the text as it is.

    None where there is no prompt.
    """
    prompt, system = fields.text("prompt") or "", fields.text("system") or ""
    images, is_raw = fields.items("images") or [], fields.flag("raw")
    for name, why in _REFUSED.items():
        if fields.any(name):
            raise BadField(name, why)
    if not (prompt or images):
        return None
    asked = _common(fields)
    if is_raw or not (chats or images):
        if images:
            raise BadField("images", "They cannot be sent with raw.")
        asked["prompt"] = prompt if is_raw or not system else f"{system}\n\n{prompt}"
        return asked
    first = [{"role": "system", "content": system}] if system else []
    asked["messages"] = [*first, {"role": "user", "content": _content(prompt, images)}]
    return asked


def texts_to_embed(fields: Fields) -> list[str]:
    """The texts of an embed request, one or several; none for an empty one."""
    given = fields.any("input")
    texts = [given] if isinstance(given, str) else given or []
    if not isinstance(texts, list) or not all(isinstance(one, str) for one in texts):
        raise BadField("input", "It must be a text or a list of texts.")
    return [] if texts == [""] else texts


def embedding_parameters(fields: Fields) -> dict[str, Any]:
    """Whether texts that are too long are cut, as Ollama does unless told otherwise; how many numbers."""
    truncate, dimensions = fields.flag("truncate"), fields.whole("dimensions", 1, MANY)
    return {"truncate": truncate is not False, **({"dimensions": dimensions} if dimensions else {})}


def _common(fields: Fields) -> GenerationRequest:
    if fields.any("format"):
        raise BadField("format", _NO_FORMAT)
    asked: GenerationRequest = {"sampling": _sampling(fields.object("options") or Fields({}))}
    if (think := fields.any("think")) is not None:
        asked["template"] = _thinking(think)
    top = fields.whole("top_logprobs", 0, _MOST_TOP_LOGPROBS)
    if fields.flag("logprobs") or top:
        asked["logprobs"] = top or 0
    return asked


def _thinking(think: object) -> dict[str, Any]:
    if isinstance(think, bool):
        return {"enable_thinking": think}
    if isinstance(think, str) and think in _THINKING:
        return {"enable_thinking": True, "reasoning_effort": think}
    raise BadField("think", f"It must be true, false or one of {', '.join(_THINKING)}.")


def _sampling(options: Fields) -> Sampling:
    sampling: Sampling = {}
    for name, ours in _NUMBERS.items():
        if (number := options.number(name, -MANY, MANY)) is not None:
            sampling[ours] = number  # type: ignore[literal-required]
    if (top_k := options.whole("top_k", -1, MANY)) is not None:
        sampling["top_k"] = max(0, top_k)
    if (seed := options.whole("seed", -1, 2**63)) is not None and seed >= 0:  # -1: another one each time
        sampling["seed"] = seed
    most = options.whole("num_predict", -2, MANY)  # -1 and -2: as many as the model and the settings allow
    if most is not None and most > 0:
        sampling["max_new_tokens"] = most
    if stop := options.any("stop"):
        sampling["stop"] = [stop] if isinstance(stop, str) else _stops(options)
    return sampling


def _stops(options: Fields) -> list[str]:
    stops = options.items("stop") or []
    if not all(isinstance(one, str) for one in stops):
        raise options.refuse("stop", "It must be a text or a list of texts.")
    return [one for one in stops if one]


def _messages(given: Iterable[Any]) -> Iterator[Message]:
    calls: dict[str, str] = {}  # the id of the latest call of each function
    for number, one in enumerate(given):
        fields = Fields(_object(one, f"messages.{number}"), f"messages.{number}")
        role = fields.text("role")
        if not role:
            raise fields.refuse("role", "Name one.")
        content = _content(fields.text("content") or "", fields.items("images") or [])
        message: Message = {"role": role, "content": content}
        if thinking := fields.text("thinking"):
            message["reasoning_content"] = thinking
        if given_calls := fields.items("tool_calls"):
            message["tool_calls"] = [_call(call, fields, number, n) for n, call in enumerate(given_calls)]
            calls |= {call["function"]["name"]: call["id"] for call in message["tool_calls"]}
        if role == "tool":
            name = fields.text("tool_name") or fields.text("name") or ""
            message["tool_call_id"] = fields.text("tool_call_id") or calls.get(name, "")
            message |= {"name": name} if name else {}
        yield message


def _call(call: object, message: Fields, number: int, place: int) -> dict[str, Any]:
    fields = Fields(_object(call, message.name("tool_calls")), message.name(f"tool_calls.{place}"))
    function = fields.object("function") or Fields({}, fields.name("function"))
    name, arguments = function.text("name"), function.any("arguments") or {}
    if not name:
        raise function.refuse("name", "Name one.")
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    call_id = fields.text("id") or f"call_{number}_{place}"
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": text}}


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadField(name, "It must be an object.")
    return value


def _content(text: str, images: Iterable[object]) -> Any:
    """A text, or a list of parts where there are images too: they come first, as with Ollama."""
    parts: list[Any] = [{"type": "image_url", "image_url": {"url": _data_uri(one)}} for one in images]
    return [*parts, {"type": "text", "text": text}] if parts else text


def _data_uri(image: object) -> str:
    text = image if isinstance(image, str) else ""
    if text.startswith("data:"):
        return text
    try:
        head = base64.b64decode(text[:16], validate=True)
    except binascii.Error:
        head = b""
    media_type = next((name for magic, name in _MEDIA_TYPES if head.startswith(magic)), None)
    if media_type is None:
        raise BadField("images", "Each must be a PNG, JPEG, WebP or GIF image in base64.")
    return f"data:{media_type};base64,{text}"
