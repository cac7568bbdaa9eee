"""Chat messages of a request, made anew from what is allowed in them: nothing else reaches transformers.

They come in the shape of OpenAI, see ``modelhub.generation.Message``; what clients put in beside that is
left out. Chat templates take the arguments of a tool call as an object.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from modelhub.inference.audio import prepare_audio
from modelhub.inference.data_uris import BadInputs
from modelhub.inference.images import decode_image
from modelhub.inference.quota import Quota

ROLES = ("system", "developer", "user", "assistant", "tool")
_MOST_PARTS = 16_384  # messages, parts and calls: more than any context has room for
_MOST_TOOLS = 128
_NAME = re.compile(r"[\w.:/-]{1,128}", re.ASCII)
_TEXTS = ("text", "input_text", "output_text")
_IMAGE_KEYS = ("image", "url", "base64")
_PART_TODO = (
    'Send {"type": "text", "text": ...}, '
    '{"type": "image_url", "image_url": {"url": "data:image/png;base64,..."}} or '
    '{"type": "input_audio", "input_audio": {"data": base64, "format": "wav"}}.'
)


@dataclass(slots=True)
class Chat:
    """Messages as chat templates take them, and the images and sounds in them in their order."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    images: list[Any] = field(default_factory=list)
    sounds: list[Any] = field(default_factory=list)


def read_chat(messages: Any, quota: Quota, media: Mapping[str, str], as_parts: bool) -> Chat:
    """The chat in ``messages``; raises BadInputs for what is no chat, and for what the model does not take.

    ``media`` has what it takes beside text, image and audio, and what stands for one of these in a text. The
    content of each message is a list of parts or a text, as the chat template wants it.
    """
    if not isinstance(messages, list) or not messages:
        raise BadInputs("there are no messages.", 'Send [{"role": "user", "content": ...}].')
    return _Reader(quota, media, as_parts).read(messages)


def tool_fields(message: dict[str, Any], quota: Quota) -> dict[str, Any]:
    """The tool calls of a message, or what it answers; raises BadInputs."""
    return _Reader(quota, {}, as_parts=False).tool_fields(message)


class _Reader:
    def __init__(self, quota: Quota, media: Mapping[str, str], as_parts: bool) -> None:
        self._quota = quota
        self._media = media
        self._as_parts = as_parts
        self._left = _MOST_PARTS
        self._chat = Chat()

    def read(self, messages: list[Any]) -> Chat:
        self._chat.messages = [self._message(message) for message in self._count(messages)]
        return self._chat

    def _count(self, values: list[Any]) -> list[Any]:
        self._left -= len(values)
        if self._left < 0:
            raise BadInputs(f"the messages have more than {_MOST_PARTS} parts.", "Send fewer of them.")
        return values

    def _message(self, message: Any) -> dict[str, Any]:
        if not isinstance(message, dict):
            raise BadInputs("a message is no object.", 'Send {"role": "user", "content": ...}.')
        role = message.get("role")
        if role not in ROLES:
            raise BadInputs(f"the role of a message must be one of {', '.join(ROLES)}.")
        return {"role": role, "content": self._content(message.get("content")), **self.tool_fields(message)}

    def tool_fields(self, message: dict[str, Any]) -> dict[str, Any]:
        """What a message has beside its role and content."""
        made: dict[str, Any] = {}
        if message["role"] == "assistant":
            if calls := message.get("tool_calls"):
                made["tool_calls"] = self._calls(calls)
            if reasoning := message.get("reasoning_content"):
                made["reasoning_content"] = self._quota.text(reasoning, "the reasoning of a message")
        elif message["role"] == "tool":
            for key in ("tool_call_id", "name"):
                if (value := message.get(key)) is not None:
                    made[key] = _name(value, f"the {key} of a message", self._quota)
        return made

    def _content(self, content: Any) -> Any:
        if content is None:
            return [] if self._as_parts else ""
        if isinstance(content, str):
            text = self._quota.text(content, "the content of a message")
            return [{"type": "text", "text": text}] if self._as_parts else text
        if not isinstance(content, list):
            raise BadInputs("the content of a message is neither a text nor a list of parts.", _PART_TODO)
        parts = [self._part(part) for part in self._count(content)]
        if self._as_parts:
            return parts
        return "\n".join(
            part["text"] if part["type"] == "text" else self._media[part["type"]] for part in parts
        )

    def _part(self, part: Any) -> dict[str, Any]:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in _TEXTS:
            return {"type": "text", "text": self._quota.text(part.get("text"), "the text of a part")}
        if kind == "refusal":
            return {"type": "text", "text": self._quota.text(part.get("refusal"), "the text of a part")}
        if kind in ("image", "image_url", "input_image"):
            self._take_image(part)
            return {"type": "image"}
        if kind in ("audio", "input_audio"):
            self._take_sound(part)
            return {"type": "audio"}
        raise BadInputs("a part of a message is neither text nor image nor audio.", _PART_TODO)

    def _take_image(self, part: dict[str, Any]) -> None:
        if "image" not in self._media:
            raise BadInputs("the model takes no images.", "Send text only, or choose a model that does.")
        self._quota.count([part])
        address = part.get("image_url") or next((part[key] for key in _IMAGE_KEYS if key in part), None)
        if isinstance(address, dict):
            address = address.get("url")
        self._chat.images.append(decode_image(address, self._quota))

    def _take_sound(self, part: dict[str, Any]) -> None:
        if "audio" not in self._media:
            raise BadInputs("the model takes no audio.", "Send text only, or choose a model that does.")
        self._quota.count([part])
        sound = part.get("input_audio", part.get("audio"))
        if isinstance(sound, dict):
            sound = sound.get("data")
        if isinstance(sound, str) and not sound.startswith("data:"):
            if "://" in sound[:64]:
                raise BadInputs("URLs are not accepted, only the audio itself as base64.", _PART_TODO)
            sound = f"data:audio/wav;base64,{sound}"  # its first bytes say what it is
        self._chat.sounds.append(prepare_audio(sound, self._quota)["raw"])

    def _calls(self, calls: Any) -> list[dict[str, Any]]:
        if not isinstance(calls, list):
            raise BadInputs("tool_calls is no list.")
        return [self._call(call) for call in self._count(calls)]

    def _call(self, call: Any) -> dict[str, Any]:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            raise BadInputs(
                "a tool call has no function.", 'Send {"function": {"name": ..., "arguments": ...}}.'
            )
        made: dict[str, Any] = {
            "type": "function",
            "function": {
                "name": _name(function.get("name"), "the name of a function", self._quota),
                "arguments": self._arguments(function.get("arguments")),
            },
        }
        if (number := call.get("id")) is not None:
            made["id"] = _name(number, "the id of a tool call", self._quota)
        return made

    def _arguments(self, arguments: Any) -> Any:
        """The arguments as an object, of JSON text."""
        if isinstance(arguments, str) and arguments.strip():
            try:
                arguments = json.loads(self._quota.text(arguments))
            except (ValueError, RecursionError):
                raise BadInputs("the arguments of a tool call are not valid JSON.") from None
        if not arguments:
            return {}
        if not isinstance(arguments, dict):
            raise BadInputs("the arguments of a tool call are no object.")
        return self._quota.plain(arguments)


def read_tools(tools: Any, quota: Quota) -> list[dict[str, Any]]:
    """The tools of a request; raises BadInputs for what has not the shape of OpenAI's."""
    if not isinstance(tools, list) or len(tools) > _MOST_TOOLS:
        raise BadInputs(f"tools must be a list of at most {_MOST_TOOLS}.")
    return [_tool(tool, quota) for tool in tools]


def _tool(tool: Any, quota: Quota) -> dict[str, Any]:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or tool.get("type", "function") != "function":
        raise BadInputs(
            "a tool is no function.",
            'Send {"type": "function", "function": {"name": ..., "parameters": {...}}}.',
        )
    made = {"name": _name(function.get("name"), "the name of a function", quota)}
    if (description := function.get("description")) is not None:
        made["description"] = quota.text(description, "the description of a function")
    parameters = function.get("parameters")
    if parameters is None:
        parameters = {"type": "object", "properties": {}}
    if not isinstance(parameters, dict):
        raise BadInputs("the parameters of a function are no JSON schema.")
    made["parameters"] = quota.plain(parameters)
    return {"type": "function", "function": made}


def _name(value: Any, what: str, quota: Quota) -> str:
    if not isinstance(value, str) or _NAME.fullmatch(value) is None:
        raise BadInputs(f"{what} must be 1 to 128 letters, digits and . : / _ -")
    return quota.text(value)
