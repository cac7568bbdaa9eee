"""Requests to OpenAI's chat completions and completions, as what a model is asked to write."""

from __future__ import annotations

import json
from typing import Any

from modelhub.generation import GenerationRequest, Message
from modelhub.web.dialects.fields import MANY, Fields
from modelhub.web.dialects.openai_sampling import sampling

MOST_LOGPROBS = 20
MOST_TOOLS = 128
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
_PARTS = ("text", "image_url", "input_audio")
_USE_TOOLS = "It was replaced by tools: use those."


def chat_request(fields: Fields) -> GenerationRequest:
    """What a chat completion asks for; raises BadField."""
    _refuse_chat(fields)
    request: GenerationRequest = {
        "messages": messages(fields, "messages"),
        "sampling": sampling(fields),
        "logprobs": _chat_logprobs(fields),
    }
    if given := tools(fields):
        request["tools"] = given
    if template := _template(fields):
        request["template"] = template
    if fields.flag("continue_final_message"):
        request["continues"] = True
    return request


def completion_request(fields: Fields) -> tuple[GenerationRequest, str]:
    """What a completion asks for, and the text that its answer begins with (``echo``); raises BadField."""
    for name in ("n", "best_of"):
        fields.only(name, 1)
    fields.only("suffix", "")
    prompt = _prompt(fields)
    logprobs = fields.whole("logprobs", 0, MOST_LOGPROBS)
    echo = ""
    if fields.flag("echo"):
        if not isinstance(prompt, str) or logprobs is not None:
            raise fields.refuse("echo", "It is supported for a prompt of text, without logprobs.")
        echo = prompt
    request: GenerationRequest = {
        "prompt": prompt,
        "sampling": sampling(fields),
        "logprobs": logprobs,
        "raw": True,
    }
    return request, echo


def messages(fields: Fields, name: str) -> list[Message]:
    """A list of chat messages in OpenAI's shape."""
    given = fields.items(name)
    if not given:
        raise fields.refuse(name, "It must be a list of chat messages, at least one.")
    return [_message(fields, f"{name}[{place}]", one) for place, one in enumerate(given)]


def _message(fields: Fields, name: str, given: Any) -> Message:
    role = given.get("role") if isinstance(given, dict) else None
    if not isinstance(role, str) or role not in _ROLES:
        raise fields.refuse(name, f"It must be an object with a role: {', '.join(_ROLES)}.")
    one = Fields(given, fields.name(name))
    message: Message = {"role": _ROLES[role], "content": _content(one)}
    if role == "assistant":
        if calls := one.items("tool_calls"):
            message["tool_calls"] = [_call(one, call) for call in calls]
        if reasoning := one.text("reasoning_content"):
            message["reasoning_content"] = reasoning
    if role == "tool" and (call_id := one.text("tool_call_id")):
        message["tool_call_id"] = call_id
    if speaker := one.text("name"):
        message["name"] = speaker
    return message


def _content(message: Fields) -> str | list[dict[str, Any]] | None:
    content = message.any("content")
    if content is None or isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise message.refuse("content", "It must be a text or a list of parts.")
    return [_part(message, one) for one in content]


def _part(message: Fields, given: Any) -> dict[str, Any]:
    kind = given.get("type") if isinstance(given, dict) else None
    if kind == "refusal":
        return {"type": "text", "text": Fields(given, message.name("content")).text("refusal") or ""}
    if kind not in _PARTS:
        raise message.refuse("content", f"A part is an object of a type that is one of {', '.join(_PARTS)}.")
    part = Fields(given, message.name("content"))
    if kind == "text":
        text = part.text("text")
        if text is None:
            raise part.refuse("text", "It is missing.")
        return {"type": "text", "text": text}
    if kind == "image_url" and isinstance(part.any("image_url"), str):
        return {"type": kind, kind: {"url": part.text("image_url")}}
    needed = ("url",) if kind == "image_url" else ("data", "format")
    value = part.object(kind)
    found = {} if value is None else {name: value.text(name) for name in needed}
    if None in found.values() or not found:
        raise part.refuse(kind, f"It must be an object with {' and '.join(needed)}.")
    return {"type": kind, kind: found}


def _call(message: Fields, given: Any) -> dict[str, Any]:
    function = given.get("function") if isinstance(given, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise message.refuse("tool_calls", "Each must be an object with function: {name, arguments}.")
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments if isinstance(arguments, dict) else {})
    call: dict[str, Any] = {
        "type": "function",
        "function": {"name": function["name"], "arguments": arguments},
    }
    return {"id": given["id"], **call} if isinstance(given.get("id"), str) else call


def tools(fields: Fields) -> list[dict[str, Any]]:
    """The functions that the model may call; none where ``tool_choice`` is none."""
    given = fields.items("tools") or []
    fields.only("tool_choice", "auto", "none")
    if len(given) > MOST_TOOLS:
        raise fields.refuse("tools", f"It must have at most {MOST_TOOLS}.")
    for one in given:
        function = one.get("function") if isinstance(one, dict) and one.get("type") == "function" else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise fields.refuse("tools", 'Each must be {"type": "function", "function": {"name", ...}}.')
    if given:
        fields.only("parallel_tool_calls", True)
    return [] if fields.any("tool_choice") == "none" else given


def _refuse_chat(fields: Fields) -> None:
    """Raise for what is known and cannot be had, so that no client takes an answer for what it is not."""
    fields.only("n", 1)
    for name in ("audio", "prediction", "web_search_options"):
        fields.only(name)
    for name in ("functions", "function_call"):
        if fields.any(name) is not None:
            raise fields.refuse(name, _USE_TOOLS)
    if fields.any("modalities") not in (None, [], ["text"]):
        raise fields.refuse("modalities", "Nothing but text is supported here.")
    response_format = fields.object("response_format")
    if response_format is not None and response_format.any("type") != "text":
        raise fields.refuse("response_format", "Nothing but text is supported here.")


def _chat_logprobs(fields: Fields) -> int | None:
    are_asked, top = fields.flag("logprobs"), fields.whole("top_logprobs", 0, MOST_LOGPROBS)
    if top and not are_asked:
        raise fields.refuse("top_logprobs", "It takes logprobs: true.")
    return (top or 0) if are_asked else None


def _template(fields: Fields) -> dict[str, Any]:
    """Variables for the chat template."""
    given = fields.mapping("chat_template_kwargs") or {}
    return effort(fields, "reasoning_effort") | given


def effort(fields: Fields, name: str) -> dict[str, Any]:
    """How much the model is to reason, as the variables that chat templates have for it."""
    level = fields.text(name)
    if not level:
        return {}
    return {"enable_thinking": False} if level == "none" else {"reasoning_effort": level}


def _prompt(fields: Fields) -> str | list[int]:
    value = fields.any("prompt")
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str | list):
        value = value[0]
    if isinstance(value, str):
        return value
    if not value or not isinstance(value, list) or not all(map(is_token_id, value)):
        raise fields.refuse("prompt", "It must be one text, or one list of token ids.")
    return [int(one) for one in value]


def is_token_id(value: Any) -> bool:
    """Whether a JSON value can be the id of a token; 5.0 is 5."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value < MANY and value == int(value)
