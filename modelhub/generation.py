"""Text that a model writes token by token: what it is asked, and what comes back while it writes.

The dialects make requests of this shape, and turn the frames that come back into theirs. Both cross the
channel to the model's process as JSON; ``inference`` checks a request there.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, TypedDict

Message: TypeAlias = dict[str, Any]
"""A chat message in the shape of OpenAI: role; content, null, a text or a list of parts
({"type": "text", "text"}, {"type": "image_url", "image_url": {"url": a data: URI}}, {"type": "input_audio",
"input_audio": {"data": base64, "format"}}); of the assistant also ``tool_calls`` and ``reasoning_content``,
of a tool ``tool_call_id``."""


class Sampling(TypedDict, total=False):
    """How the next token is chosen, and when to end. What is absent is as the model's own settings say."""

    temperature: float  # 0: always the likeliest token
    top_p: float
    top_k: int  # 0: all
    min_p: float
    repetition_penalty: float  # 1: none; over prompt and answer
    presence_penalty: float  # 0: none; over the answer
    frequency_penalty: float
    logit_bias: dict[str, float]  # token id, as a text: what is added
    seed: int
    do_sample: bool  # False: as temperature 0
    max_new_tokens: int
    min_new_tokens: int
    stop: list[str]  # texts that end the answer and are no part of it
    ignore_eos: bool


class GenerationRequest(TypedDict, total=False):
    """Either ``messages`` or ``prompt``."""

    messages: list[Message]
    prompt: str | list[int]  # text as it is, or token ids
    tools: list[dict[str, Any]]  # in the shape of OpenAI: {"type": "function", "function": {...}}
    template: dict[str, Any]  # further variables of the chat template, such as enable_thinking
    continues: bool  # the last message is of the assistant, and goes on
    sampling: Sampling
    logprobs: int | None  # of each token, and of so many likeliest ones; None: none
    raw: bool  # reasoning and tool calls stay in the text


class Logprob(TypedDict):
    """A token that was possible at its place. ``bytes`` are those of its text."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(Logprob):
    """A token that was chosen, and the likeliest ones at its place."""

    top: list[Logprob]


class ToolCall(TypedDict):
    """A function that the model wants called. ``arguments`` are JSON text."""

    id: str
    name: str
    arguments: str


class Usage(TypedDict):
    """Tokens: of the prompt, those of it that were in a cache, those that were written."""

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int


class Timings(TypedDict):
    """Seconds: until it began, of the prompt, of the answer."""

    queued_s: float
    prompt_s: float
    answer_s: float


FinishReason = Literal["stop", "length", "tool_calls"]


class Finish(TypedDict):
    """How an answer ended."""

    reason: FinishReason
    usage: Usage
    timings: Timings


class Frame(TypedDict, total=False):
    """What has been written since the last frame; the last one alone has ``finish``."""

    text: str
    reasoning: str
    tool_calls: list[ToolCall]  # whole ones
    logprobs: list[TokenLogprob]
    tokens: int  # that were written so far
    finish: Finish
