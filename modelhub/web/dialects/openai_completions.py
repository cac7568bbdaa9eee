"""The answers of OpenAI's completions: whole, or as chunks, which are of the same shape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modelhub.generation import FinishReason, Frame, TokenLogprob
from modelhub.web.dialects.answers import Answer, Whole
from modelhub.web.dialects.openai_chat import JsonObject, head, timings, usage

_KIND = "text_completion"


class CompletionChunks:
    """The chunks of one answer, after the text ``echo``."""

    def __init__(self, answer: Answer, include_usage: bool, echo: str) -> None:
        self._head = head(answer, _KIND)
        self._include_usage = include_usage
        self._echo = echo
        self._offset = len(echo)

    def __call__(self, frame: Frame) -> Iterator[JsonObject]:
        """The chunks for a frame."""
        text = self._echo + frame.get("text", "")
        self._echo = ""
        tokens = frame.get("logprobs", [])
        if text or tokens:
            yield self._chunk(text, tokens)
            self._offset += len(frame.get("text", ""))
        if "finish" not in frame:
            return
        finish = frame["finish"]
        used = usage(finish["usage"])
        yield {**self._chunk("", [], finish["reason"]), "usage": used, "timings": timings(finish)}
        if self._include_usage:
            yield {**self._head, "choices": [], "usage": used}

    def _chunk(self, text: str, tokens: list[TokenLogprob], reason: FinishReason | None = None) -> JsonObject:
        chunk: JsonObject = {**self._head, "choices": [_choice(text, tokens, reason, self._offset)]}
        return {**chunk, "usage": None} if self._include_usage else chunk


def completion(answer: Answer, whole: Whole, echo: str) -> JsonObject:
    """A whole answer, after the text ``echo``."""
    choice = _choice(echo + whole.text, whole.logprobs, whole.finish["reason"], len(echo))
    return {
        **head(answer, _KIND),
        "choices": [choice],
        "usage": usage(whole.finish["usage"]),
        "timings": timings(whole.finish),
    }


def _choice(
    text: str, tokens: list[TokenLogprob], reason: FinishReason | None, offset: int
) -> dict[str, Any]:
    logprobs = _logprobs(tokens, offset) if tokens else None
    return {"index": 0, "text": text, "logprobs": logprobs, "finish_reason": reason}


def _logprobs(tokens: list[TokenLogprob], offset: int) -> JsonObject:
    offsets = []
    for one in tokens:
        offsets.append(offset)
        offset += len(one["token"])
    return {
        "tokens": [one["token"] for one in tokens],
        "token_logprobs": [one["logprob"] for one in tokens],
        "top_logprobs": [{top["token"]: top["logprob"] for top in one["top"]} for one in tokens],
        "text_offset": offsets,
    }
