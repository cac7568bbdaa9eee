"""One answer under way: what was asked, how far it is, and how it ends."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

from modelhub.generation import Finish, FinishReason, Frame
from modelhub.inference.engine.choosing import Chooser, Chosen, ends_of
from modelhub.inference.engine.packed_cache import RowCache
from modelhub.inference.parameters import limits_of
from modelhub.inference.requests import PreparedRequest, prepare
from modelhub.limits import PredictionLimits
from modelhub.loader.finishing import LoadedModel


@dataclass(slots=True, eq=False)
class Row:
    """A request from its arrival on. ``cache`` has what was fed; ``answer`` the tokens that were chosen."""

    number: int
    model_id: str
    limits: PredictionLimits
    prepared: PreparedRequest
    chooser: Chooser
    ends: frozenset[int]
    most_tokens: int
    arrived: float
    began: float = 0.0
    first_at: float = 0.0
    deadline: float = math.inf
    cache: RowCache | None = None
    cached_tokens: int = 0
    answer: list[int] = field(default_factory=list)

    def begin(self, now: float) -> None:
        """From now on its time counts."""
        self.began = now
        if self.limits.prediction_seconds:
            self.deadline = now + self.limits.prediction_seconds

    @property
    def left(self) -> int:
        """How many tokens of the prompt have to be fed yet."""
        fed = 0 if self.cache is None else len(self.cache.ids)
        return max(0, len(self.prepared.input_ids) - fed)

    def next_ids(self, most: int) -> list[int]:
        """The tokens to feed next: up to ``most`` of the prompt, then the one that was chosen last."""
        if not self.left or self.cache is None:
            return self.answer[-1:]
        begin = len(self.cache.ids)
        return self.prepared.input_ids[begin : begin + most]

    def take(self, chosen: Chosen) -> tuple[list[Frame], bool]:
        """The next token was chosen: what can be said now, and whether the answer has ended with it."""
        self.first_at = self.first_at or time.monotonic()
        self.answer.append(chosen.token)
        reply = self.prepared.reply
        frame = reply.add(chosen.token, chosen.logprob, chosen.top)
        frames = [frame] if frame else []
        if reply.has_stopped or chosen.token in self.ends:
            return [*frames, self.last("stop")], True
        if len(self.answer) >= self.most_tokens:
            return [*frames, self.last("length")], True
        return frames, False

    def last(self, reason: FinishReason) -> Frame:
        """The frame that ends the answer."""
        now, reply = time.monotonic(), self.prepared.reply
        rest = reply.end(reason)
        finish: Finish = {
            "reason": reply.reason(reason),
            "usage": {
                "prompt_tokens": len(self.prepared.input_ids),
                "cached_tokens": self.cached_tokens,
                "completion_tokens": len(self.answer),
                "reasoning_tokens": reply.reasoning_tokens,
            },
            "timings": {
                "queued_s": round(self.began - self.arrived, 6),
                "prompt_s": round((self.first_at or now) - self.began, 6),
                "answer_s": round(now - (self.first_at or now), 6),
            },
        }
        return {**rest, "finish": finish}


def new_row(loaded: LoadedModel, message: dict[str, Any], arrived: float) -> Row:
    """Check a request from the server, and make tokens of it; raises BadInputs."""
    model, limits = loaded.model, limits_of(message["limits"])
    prepared = prepare(loaded, message["generation"], limits)
    config, sampling = model.generation_config, prepared.sampling
    chooser = Chooser(config, sampling, prepared.input_ids, model.device, prepared.logprobs)
    ends, most = frozenset(ends_of(config, sampling)), sampling["max_new_tokens"]
    return Row(message["request"], message["model"], limits, prepared, chooser, ends, most, arrived)
