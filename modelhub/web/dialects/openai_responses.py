"""Requests to OpenAI's responses, as what a model is asked to write, and the whole answers."""

from __future__ import annotations

import time
from typing import Any

from modelhub.generation import Finish, GenerationRequest, Message, ToolCall, Usage
from modelhub.web.dialects.answers import Answer, Whole
from modelhub.web.dialects.fields import Fields
from modelhub.web.dialects.openai_requests import effort, messages, tools
from modelhub.web.dialects.openai_sampling import sampling

JsonObject = dict[str, Any]
_NOT_KEPT = "Nothing is kept between requests here: send the whole conversation as input."
_PARTS = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}
_INCLUDED = ("reasoning.encrypted_content",)  # asked for by clients always; there is none


def response_request(fields: Fields) -> GenerationRequest:
    """What a request for a response asks for; raises BadField."""
    _refuse(fields)
    given = _input(fields)
    if instructions := fields.text("instructions"):
        given.insert(0, {"role": "system", "content": instructions})
    plain = Fields({"input": given})
    request: GenerationRequest = {
        "messages": messages(plain, "input"),
        "sampling": sampling(fields, ("max_output_tokens",)),
        "logprobs": None,
    }
    if functions := _tools(fields):
        request["tools"] = functions
    reasoning = fields.object("reasoning")
    if reasoning is not None and (template := effort(reasoning, "effort")):
        request["template"] = template
    return request


def _refuse(fields: Fields) -> None:
    for name in ("previous_response_id", "conversation"):
        if fields.any(name) is not None:
            raise fields.refuse(name, _NOT_KEPT)
    for name in ("prompt", "max_tool_calls"):
        fields.only(name)
    fields.only("background", False)
    fields.only("truncation", "disabled")
    fields.only("top_logprobs", 0)
    for one in fields.items("include") or []:
        if one not in _INCLUDED:
            raise fields.refuse("include", "Nothing is supported here.")
    text = fields.object("text")
    wanted = None if text is None else text.object("format")
    if wanted is not None and wanted.any("type") != "text":
        raise fields.refuse("text.format", "Nothing but text is supported here.")


def _input(fields: Fields) -> list[Message]:
    """The items of the input as chat messages; calls of functions join the message before them."""
    value = fields.any("input")
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    items = fields.items("input") or []
    is_content = bool(items) and all(isinstance(one, dict) and "role" not in one for one in items)
    if is_content and all(one.get("type", "").startswith("input_") for one in items):
        items = [{"role": "user", "content": items}]
    found: list[Message] = []
    for item in items:
        _add(found, fields, item)
    if not found:
        raise fields.refuse("input", "It must be a text or a list of items, at least one.")
    return found


def _add(found: list[Message], fields: Fields, item: Any) -> None:
    kind = item.get("type", "message") if isinstance(item, dict) else None
    if kind == "message":
        found.append({**item, "content": _content(fields, item.get("content"))})
    elif kind == "function_call":
        if not found or found[-1]["role"] != "assistant":
            found.append({"role": "assistant", "content": None})
        function = {"name": item.get("name"), "arguments": item.get("arguments")}
        call = {"id": item.get("call_id"), "type": "function", "function": function}
        found[-1].setdefault("tool_calls", []).append(call)
    elif kind == "function_call_output":
        output = _content(fields, item.get("output"))
        found.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": output})
    elif kind != "reasoning":  # what a model thought before is left out, as templates do
        raise fields.refuse("input", "Its items must be messages, function calls or their outputs.")


def _content(fields: Fields, content: Any) -> Any:
    if not isinstance(content, list):
        return content
    return [_part(fields, one) for one in content]


def _part(fields: Fields, part: Any) -> JsonObject:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in _PARTS:
        return {"type": "text", "text": part.get(_PARTS[kind])}
    if kind == "input_image":
        return {"type": "image_url", "image_url": {"url": part.get("image_url")}}
    if kind == "input_audio":
        return dict(part)
    raise fields.refuse("input", "The parts of a content must be texts, images or sounds.")


def _tools(fields: Fields) -> list[JsonObject]:
    """Functions, which are flat here and nested in chat completions."""
    nested = []
    for one in fields.items("tools") or []:
        if not isinstance(one, dict) or one.get("type") != "function":
            raise fields.refuse("tools", "Nothing but functions is supported here.")
        function = {name: one[name] for name in ("name", "description", "parameters") if name in one}
        nested.append({"type": "function", "function": function})
    names = ("tool_choice", "parallel_tool_calls")
    return tools(Fields({"tools": nested, **{name: fields.any(name) for name in names}}))


def response(answer: Answer, whole: Whole) -> JsonObject:
    """A whole response."""
    output: list[JsonObject] = []
    if whole.reasoning:
        output.append(reasoning_item(answer, whole.reasoning))
    if whole.text or not whole.tool_calls:
        output.append(message_item(answer, whole.text))
    output += [call_item(call) for call in whole.tool_calls]
    return finished(answer, output, whole.finish)


def unfinished(answer: Answer, status: str) -> JsonObject:
    """A response that has no output yet."""
    return {
        "id": answer.id,
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "model": answer.model_id,
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "error": None,
        "incomplete_details": None,
        "usage": None,
    }


def finished(answer: Answer, output: list[JsonObject], finish: Finish) -> JsonObject:
    """A response that has ended; it is incomplete where the limit of tokens ended it."""
    is_cut = finish["reason"] == "length"
    return {
        **unfinished(answer, "incomplete" if is_cut else "completed"),
        "output": output,
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "usage": usage(finish["usage"]),
    }


def usage(of: Usage) -> JsonObject:
    """The tokens of a response."""
    return {
        "input_tokens": of["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": of["cached_tokens"], "cache_write_tokens": 0},
        "output_tokens": of["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": of["reasoning_tokens"]},
        "total_tokens": of["prompt_tokens"] + of["completion_tokens"],
    }


def reasoning_item(answer: Answer, text: str, status: str = "completed") -> JsonObject:
    """What the model has thought."""
    content = [{"type": "reasoning_text", "text": text}] if text else []
    return {"id": f"rs_{answer.id}", "type": "reasoning", "summary": [], "content": content, "status": status}


def message_item(answer: Answer, text: str) -> JsonObject:
    """What the model has said."""
    return {
        "id": f"msg_{answer.id}",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [text_part(text)],
    }


def text_part(text: str) -> JsonObject:
    """The content of a message."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def call_item(call: ToolCall) -> JsonObject:
    """A function that the model wants called."""
    return {
        "id": f"fc_{call['id']}",
        "type": "function_call",
        "call_id": call["id"],
        "name": call["name"],
        "arguments": call["arguments"],
        "status": "completed",
    }
