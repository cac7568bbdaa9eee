"""The answers of OpenAI's chat completions: whole, or as chunks."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from modelhub.generation import Finish, Frame, Logprob, Timings, TokenLogprob, ToolCall, Usage
from modelhub.web.dialects.answers import Answer, Whole

JsonObject = dict[str, Any]


class ChatChunks:
    """The chunks of one answer. ``include_usage``: one more at the end, with the usage alone."""

    def __init__(self, answer: Answer, include_usage: bool) -> None:
        self._head = head(answer, "chat.completion.chunk")
        self._include_usage = include_usage
        self._has_begun = False
        self._calls = 0

    def __call__(self, frame: Frame) -> Iterator[JsonObject]:
        """The chunks for a frame."""
        if not self._has_begun:
            self._has_begun = True
            yield self._chunk({"role": "assistant", "content": ""})
        delta: JsonObject = {}
        if frame.get("reasoning"):
            delta["reasoning_content"] = frame["reasoning"]
        if frame.get("text"):
            delta["content"] = frame["text"]
        if calls := frame.get("tool_calls"):
            delta["tool_calls"] = [
                {"index": place, **tool_call(call)} for place, call in enumerate(calls, self._calls)
            ]
            self._calls += len(calls)
        if delta or frame.get("logprobs"):
            yield self._chunk(delta, frame.get("logprobs"))
        if "finish" in frame:
            yield from self._end(frame["finish"])

    def _end(self, finish: Finish) -> Iterator[JsonObject]:
        """The usage is with the reason, since clients that do not ask for it can use it there."""
        last = self._chunk({})
        last["choices"][0]["finish_reason"] = finish["reason"]
        yield {**last, "usage": usage(finish["usage"]), "timings": timings(finish)}
        if self._include_usage:
            yield {**self._head, "choices": [], "usage": usage(finish["usage"])}

    def _chunk(self, delta: JsonObject, logprobs: list[TokenLogprob] | None = None) -> JsonObject:
        choice: JsonObject = {"index": 0, "delta": delta, "finish_reason": None}
        if logprobs:
            choice["logprobs"] = chat_logprobs(logprobs)
        chunk: JsonObject = {**self._head, "choices": [choice]}
        return {**chunk, "usage": None} if self._include_usage else chunk


def chat_completion(answer: Answer, whole: Whole) -> JsonObject:
    """A whole answer."""
    message: JsonObject = {"role": "assistant", "content": whole.text, "refusal": None}
    if whole.reasoning:
        message["reasoning_content"] = whole.reasoning
    if whole.tool_calls:
        message["content"] = whole.text or None
        message["tool_calls"] = [tool_call(call) for call in whole.tool_calls]
    choice = {
        "index": 0,
        "message": message,
        "finish_reason": whole.finish["reason"],
        "logprobs": chat_logprobs(whole.logprobs) if whole.logprobs else None,
    }
    return {
        **head(answer, "chat.completion"),
        "choices": [choice],
        "usage": usage(whole.finish["usage"]),
        "timings": timings(whole.finish),
    }


def head(answer: Answer, kind: str) -> JsonObject:
    """What every object of one answer begins with; its id is one that DELETE /api/predictions/<id> takes."""
    return {
        "id": answer.id,
        "object": kind,
        "created": int(time.time()),
        "model": answer.model_id,
        "system_fingerprint": None,
    }


def usage(of: Usage) -> JsonObject:
    """The tokens of an answer."""
    return {
        "prompt_tokens": of["prompt_tokens"],
        "completion_tokens": of["completion_tokens"],
        "total_tokens": of["prompt_tokens"] + of["completion_tokens"],
        "prompt_tokens_details": {"cached_tokens": of["cached_tokens"]},
        "completion_tokens_details": {"reasoning_tokens": of["reasoning_tokens"]},
    }


def timings(finish: Finish) -> JsonObject:
    """How long an answer took, as llama.cpp's server says it; times are milliseconds."""
    of: Timings = finish["timings"]
    used = finish["usage"]
    read = used["prompt_tokens"] - used["cached_tokens"]
    return {
        "queued_ms": round(1000 * of["queued_s"], 3),
        "cache_n": used["cached_tokens"],
        "prompt_n": read,
        "prompt_ms": round(1000 * of["prompt_s"], 3),
        "prompt_per_second": _rate(read, of["prompt_s"]),
        "predicted_n": used["completion_tokens"],
        "predicted_ms": round(1000 * of["answer_s"], 3),
        "predicted_per_second": _rate(used["completion_tokens"], of["answer_s"]),
    }


def _rate(count: int, seconds: float) -> float | None:
    return round(count / seconds, 2) if seconds > 0 else None


def tool_call(call: ToolCall) -> JsonObject:
    """A call of a function."""
    return {
        "id": call["id"],
        "type": "function",
        "function": {"name": call["name"], "arguments": call["arguments"]},
    }


def chat_logprobs(tokens: Iterable[TokenLogprob]) -> JsonObject:
    """The probabilities of tokens."""
    content = [{**_logprob(one), "top_logprobs": [_logprob(top) for top in one["top"]]} for one in tokens]
    return {"content": content, "refusal": None}


def _logprob(of: Logprob) -> JsonObject:
    return {"token": of["token"], "logprob": of["logprob"], "bytes": of["bytes"]}
