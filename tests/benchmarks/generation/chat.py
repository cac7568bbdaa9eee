"""What a client of transformers serve does: the client of ``transformers chat``, which streams."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from huggingface_hub import InferenceClient

from tests.benchmarks.generation.words import words

_WORDS = words()


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer: seconds to its first text and to its end, tokens, and its text."""

    first_s: float
    all_s: float
    tokens: int
    text: str
    longest_gap_s: float

    @property
    def tokens_per_second(self) -> float:
        """After the first one."""
        return (self.tokens - 1) / (self.all_s - self.first_s)


class Chat:
    """Conversations with one model of one server."""

    def __init__(self, url: str, model: str) -> None:
        self._client = InferenceClient(base_url=f"{url}/v1", timeout=600)
        self._model = model

    def ask(self, messages: list[dict[str, str]], tokens: int) -> Answered:
        """One answer of exactly so many tokens."""
        began = time.monotonic()
        times, text = [], ""
        for content in self.stream(messages, tokens):
            times.append(time.monotonic())
            text += content
        ended = time.monotonic()
        gaps = [later - earlier for earlier, later in pairwise(times)]
        first = times[0] if times else ended  # of an answer whose tokens are no text
        return Answered(first - began, ended - began, tokens, text, max(gaps, default=0.0))

    def stream(self, messages: list[dict[str, str]], tokens: int) -> Generator[str, None, None]:
        """The texts of an answer of exactly so many tokens as they come; close it to leave."""
        limits = {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": False}
        extra: dict[str, Any] = {"generation_config": json.dumps(limits), "model": self._model}
        stream = self._client.chat_completion(messages, stream=True, model=self._model, extra_body=extra)
        for chunk in stream:
            if content := chunk.choices[0].delta.content if chunk.choices else None:
                yield content

    def at_once(self, clients: int, tokens: int) -> float:
        """Tokens per second of so many clients together."""
        began = time.monotonic()
        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(lambda _: self.ask([user(20)], tokens), range(clients)))
        return clients * tokens / (time.monotonic() - began)


def user(count: int) -> dict[str, str]:
    """A message of so many words, each a token, another one each time."""
    return {"role": "user", "content": "".join(f" {word}" for word in random.choices(_WORDS, k=count))}
