"""What a model writes, token by token, as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tokenizers.decoders import DecodeStream

from modelhub.generation import FinishReason, Frame


class Reply:
    """The answer to one request: ``add`` takes each token and returns what can be said now."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokens = 0
        self.has_stopped = False  # by a text of the request
        self._backend = tokenizer.backend_tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)

    def add(self, token: int, logprob: float | None = None, top: Sequence[tuple[int, float]] = ()) -> Frame:
        """Take the next token; returns what was written, an empty frame where that is not known yet."""
        self.tokens += 1
        text = self._stream.step(self._backend, token)
        return {"text": text, "tokens": self.tokens} if text else {}

    def end(self, reason: FinishReason) -> Frame:
        """The rest of the text; there is no further token."""
        return {}

    def reason(self, reason: FinishReason) -> FinishReason:
        """How the answer ended, where the tokens ended for ``reason``."""
        return reason
