"""Tool calls as models write them, as those of OpenAI: a name, and arguments as JSON text."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from modelhub.generation import ToolCall

_FUNCTION = re.compile(r"<function=([^>\n]+)>(.*?)(?:</function>|\Z)", re.DOTALL)
_PARAMETER = re.compile(r"<parameter=([^>\n]+)>\n?(.*?)\n?</parameter>", re.DOTALL)
_BETWEEN = re.compile(r"[\s,;]*")
_MISTRAL, _ARGUMENTS, _CALL_ID = "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"


class NotCalls(ValueError):
    """The text is no tool call."""


def read_calls(value: Any, tools: Sequence[Mapping[str, Any]]) -> list[ToolCall]:
    """The calls in what a model wrote: text between its markers, or what a response parser made of that.

    Raises NotCalls where it is anything else.
    """
    try:
        found = list(_of_text(value, tools) if isinstance(value, str) else _of_json(value))
    except (ValueError, RecursionError) as error:
        raise NotCalls(str(error)) from None
    if not found:
        raise NotCalls("there is none")
    return found


def names_of(tools: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """The names of the functions that may be called."""
    return frozenset(tool["function"]["name"] for tool in tools)


def _of_text(text: str, tools: Sequence[Mapping[str, Any]]) -> Iterator[ToolCall]:
    text = text.strip()
    if text.startswith("<function="):
        yield from _of_tags(text, tools)
    elif _ARGUMENTS in text:
        for piece in filter(None, (one.strip() for one in text.split(_MISTRAL))):
            head, _, arguments = piece.partition(_ARGUMENTS)
            yield _call(head.partition(_CALL_ID)[0].strip(), _load(arguments))
    else:
        for value in _values(text):
            yield from _of_json(value)


def _values(text: str) -> Iterator[Any]:
    """The JSON values one after another, with nothing but separators between them."""
    place = 0
    while place < len(text):
        value, place = _DECODER.raw_decode(text, place)
        yield value
        between = _BETWEEN.match(text, place)
        place = between.end() if between is not None else place


def _of_json(value: Any) -> Iterator[ToolCall]:
    if isinstance(value, list):
        for one in value:
            yield from _of_json(one)
        return
    if not isinstance(value, dict):
        raise NotCalls("it is no object")
    function = value.get("function", value)
    if isinstance(function, str):  # {"function": "name", "arguments": {...}}
        function = {**value, "name": function}
    if not isinstance(function, dict):
        raise NotCalls("it has no function")
    arguments = function.get("arguments", function.get("parameters"))
    if isinstance(arguments, str):
        arguments = _load(arguments)
    yield _call(function.get("name"), {} if arguments is None else arguments)


def _of_tags(text: str, tools: Sequence[Mapping[str, Any]]) -> Iterator[ToolCall]:
    """Calls of Qwen3-Coder: <function=name><parameter=key>value</parameter></function>."""
    for name, body in _FUNCTION.findall(text):
        types = _types(name, tools)
        yield _call(name, {key: _typed(value, types.get(key)) for key, value in _PARAMETER.findall(body)})


def _types(name: str, tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    for tool in tools:
        if tool["function"]["name"] == name:
            properties = (tool["function"].get("parameters") or {}).get("properties")
            if isinstance(properties, dict):
                return {key: one.get("type") for key, one in properties.items() if isinstance(one, dict)}
    return {}


def _typed(text: str, kind: Any) -> Any:
    """A value without quotation marks: a text, unless its schema says otherwise."""
    if kind in (None, "string") or (isinstance(kind, list) and "string" in kind):
        return text
    try:
        return _load(text)
    except ValueError:
        return text


def _call(name: Any, arguments: Any) -> ToolCall:
    if not isinstance(name, str) or not name.strip() or not isinstance(arguments, dict):
        raise NotCalls("it has no name or no arguments")
    text = json.dumps(arguments, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a character, which only an escape can write
        text = json.dumps(arguments)
    return {"id": f"call_{secrets.token_hex(12)}", "name": name.strip(), "arguments": text}


def _load(text: str) -> Any:
    return json.loads(text, parse_constant=_refuse)


def _refuse(name: str) -> None:
    raise NotCalls(f"{name} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)
