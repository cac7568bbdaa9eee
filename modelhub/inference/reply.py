"""What a model writes, token by token, as text, reasoning and tool calls."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence

from modelhub.generation import FinishReason, Frame, Logprob, TokenLogprob
from modelhub.inference.chat.answers import Answer, Parts
from modelhub.inference.chat.stops import Stops
from modelhub.inference.chat.text_stream import TextStream
from modelhub.inference.chat.vocabulary import Vocabulary


class Reply:
    """The answer to one request: ``add`` takes each token and returns what can be said now.

    ``stops`` are texts that end it and are no part of it, ``ends`` such tokens. ``marks`` are special tokens
    that are text all the same. ``before`` are the tokens that it goes on from, as a text does with its next
    word.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        answer: Answer | None = None,
        stops: Sequence[str] = (),
        marks: Collection[str] = (),
        before: Sequence[int] = (),
        ends: Collection[int] = (),
    ) -> None:
        self.tokens = 0
        self.reasoning_tokens = 0
        self._vocabulary = vocabulary
        self._silent = vocabulary.silent(ends, marks)
        self._stream = TextStream(vocabulary.decode, [token for token in before if token not in self._silent])
        self._stops = Stops(stops)
        self._answer = answer or Answer(None)
        self._decoded = self._certain = 0  # characters: of the tokens so far, and of those that are said
        self._logprobs: deque[tuple[int, TokenLogprob]] = deque()  # with the character that each begins at

    @property
    def has_stopped(self) -> bool:
        """Whether a stop has come: there is to be no further token."""
        return self._stops.found

    def add(self, token: int, logprob: float | None = None, top: Sequence[tuple[int, float]] = ()) -> Frame:
        """Take the next token; returns what is certain, an empty frame where that is nothing yet."""
        if self.has_stopped:
            return {}
        self.tokens += 1
        if logprob is not None and token not in self._silent:
            self._logprobs.append((self._decoded, self._describe(token, logprob, top)))
        text = "" if token in self._silent else self._stream.add(token)
        self._decoded += len(text)
        parts = self._take(text)
        self.reasoning_tokens += self._answer.is_reasoning
        return self._frame(parts)

    def end(self, reason: FinishReason) -> Frame:
        """The rest of the text; there is no further token."""
        parts = Parts()
        if not self.has_stopped:
            rest = self._stream.end()
            self._decoded += len(rest)
            parts = self._take(rest)
        if not self.has_stopped:
            held = self._stops.end()
            self._certain += len(held)
            parts = _joined(parts, self._answer.add(held))
            self._certain = self._decoded + 1  # tokens of a character that was not completed, too
        return self._frame(_joined(parts, self._answer.end()))

    def reason(self, reason: FinishReason) -> FinishReason:
        """How the answer ended, where the tokens ended for ``reason``."""
        return "tool_calls" if reason == "stop" and self._answer.has_calls else reason

    def _take(self, text: str) -> Parts:
        certain = self._stops.add(text)
        self._certain += len(certain)
        return self._answer.add(certain)

    def _frame(self, parts: Parts) -> Frame:
        frame: Frame = {}
        if parts.text:
            frame["text"] = parts.text
        if parts.reasoning:
            frame["reasoning"] = parts.reasoning
        if parts.tool_calls:
            frame["tool_calls"] = parts.tool_calls
        logprobs = []
        while self._logprobs and self._logprobs[0][0] < self._certain:
            logprobs.append(self._logprobs.popleft()[1])
        if logprobs:
            frame["logprobs"] = logprobs
        if frame:
            frame["tokens"] = self.tokens
        return frame

    def _describe(self, token: int, logprob: float, top: Sequence[tuple[int, float]]) -> TokenLogprob:
        return {**self._logprob(token, logprob), "top": [self._logprob(*one) for one in top]}

    def _logprob(self, token: int, logprob: float) -> Logprob:
        written = self._vocabulary.bytes_of(token)
        return {"token": written.decode(errors="replace"), "logprob": logprob, "bytes": list(written)}


def _joined(first: Parts, second: Parts) -> Parts:
    return Parts(
        first.text + second.text, first.reasoning + second.reasoning, first.tool_calls + second.tool_calls
    )
