"""Texts as numbers, in pieces: other requests go on between two of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from modelhub.core.registry import Registry
from modelhub.web.dialects import held
from modelhub.web.dialects.ollama_answers import nanoseconds

_AT_ONCE = 32  # texts: what is written between two turns of other requests


class Embedded(NamedTuple):
    """The numbers of each text; times are seconds."""

    model_id: str
    vectors: list[list[float]]
    prompt_tokens: int
    load_s: float
    total_s: float

    def pieces(self) -> Iterator[str]:
        """The body of the response."""
        told = {
            "model": self.model_id,
            "total_duration": nanoseconds(self.total_s),
            "load_duration": nanoseconds(self.load_s),
            "prompt_eval_count": self.prompt_tokens,
        }
        yield f'{json.dumps(told)[:-1]}, "embeddings": ['
        for begin in range(0, len(self.vectors), _AT_ONCE):
            yield ", " if begin else ""
            yield json.dumps(self.vectors[begin : begin + _AT_ONCE])[1:-1]
            time.sleep(0)
        yield "]}"


def embed(
    registry: Registry,
    model_id: str,
    texts: list[str],
    by: str,
    has_left: Callable[[], bool],
    keep_s: float | None,
    parameters: dict[str, Any],
) -> Embedded:
    """Embed texts with a model that is loaded where it must; raises ModelhubError.

    ``parameters`` are those of ``inference.embeddings``.
    """
    began_at = time.monotonic()
    held.ready(registry, model_id, by, has_left)
    loaded_at, tokens = time.monotonic(), 0
    vectors: list[list[float]] = []
    for found in held.embed(registry, model_id, texts, parameters, has_left, keep_s):
        tokens += found["prompt_tokens"]
        vectors += found["embeddings"]
    return Embedded(model_id, vectors, tokens, loaded_at - began_at, time.monotonic() - began_at)
