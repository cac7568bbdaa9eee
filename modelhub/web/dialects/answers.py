"""The answer to one request in any dialect: loads the model where it must, then streams what it writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

from modelhub.core.generations import new_id
from modelhub.core.registry import Registry
from modelhub.errors import ModelhubError
from modelhub.generation import Finish, Frame, GenerationRequest, TokenLogprob, ToolCall
from modelhub.payloads import Snapshot


class Loading(NamedTuple):
    """The model loads: what there is to say of that."""

    snapshot: Snapshot


Part: TypeAlias = Loading | Frame | None
"""None: nothing has come for a second."""


class Answer:
    """One answer. Its parts are to be read once; whatever ends that ends the work."""

    def __init__(
        self,
        registry: Registry,
        model_id: str,
        request: GenerationRequest,
        *,
        by: str,
        has_left: Callable[[], bool],
        keep_s: float | None = None,
    ) -> None:
        self.id = new_id()  # DELETE /api/predictions/<id> ends it
        self.model_id = model_id
        self._registry = registry
        self._request = request
        self._by = by
        self._has_left = has_left
        self._keep_s = keep_s

    def parts(self) -> Iterator[Part]:
        """Loading while the model loads, then frames, the last one with ``finish``; raises ModelhubError."""
        for snapshot in self._registry.on_demand.ready(self.model_id, self._by, self._has_left):
            yield Loading(snapshot)
        generation = self._registry.generations.start(
            self.model_id, self._request, self._has_left, self._keep_s, self.id
        )
        yield from generation.frames()


def begin(answer: Answer) -> Iterator[Part]:
    """The parts of an answer, once the first has come: what fails at once raises here, not in a stream."""
    return begun(answer.parts())


def begun(parts: Iterator[Any]) -> Iterator[Any]:
    """The same parts, once the first has come."""
    first = next(parts)
    return chain([first], parts)


@dataclass(slots=True)
class Whole:
    """An answer that has come to its end."""

    finish: Finish
    text: str = ""
    reasoning: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)


def whole(answer: Answer) -> Whole:
    """Wait for the whole answer; raises ModelhubError."""
    frames = [part for part in answer.parts() if part is not None and not isinstance(part, Loading)]
    if not frames:
        raise ModelhubError("prediction_failed", why="it was stopped.")
    return Whole(
        frames[-1]["finish"],
        "".join(frame.get("text", "") for frame in frames),
        "".join(frame.get("reasoning", "") for frame in frames),
        [call for frame in frames for call in frame.get("tool_calls", ())],
        [one for frame in frames for one in frame.get("logprobs", ())],
    )
