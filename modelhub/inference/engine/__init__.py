"""Answers several requests for text at once, token by token."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from modelhub import units
from modelhub.errors import ModelhubError
from modelhub.generation import Finish, FinishReason, Frame
from modelhub.inference.failures import explain
from modelhub.inference.interruption import Interrupted, Interruption
from modelhub.inference.parameters import limits_of
from modelhub.inference.requests import PreparedRequest, prepare
from modelhub.limits import PredictionLimits
from modelhub.loader.finishing import LoadedModel

_DEFAULT_TOKENS = 1024


@dataclass(slots=True)
class _Row:
    number: int
    model_id: str
    limits: PredictionLimits
    prepared: PreparedRequest
    arrived: float


class Engine:
    """For the main thread of a model's process; any thread may call ``stop``.

    ``send`` sends the frames of one step, ``fail`` how a request has failed, ``begin`` that one has begun.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        interruption: Interruption,
        send: Callable[[list[tuple[int, Frame]]], None],
        fail: Callable[[int, ModelhubError], None],
        begin: Callable[[int], None],
    ) -> None:
        self._loaded = loaded
        self._interruption = interruption
        self._send = send
        self._fail = fail
        self._begin = begin
        self._waiting: deque[_Row] = deque()
        self._stopped: set[int] = set()
        self._lock = threading.Lock()

    @property
    def has_work(self) -> bool:
        """Whether ``step`` has something to do."""
        return bool(self._waiting)

    def stop(self, number: int) -> None:
        """End a request, or never begin it."""
        with self._lock:
            self._stopped.add(number)

    def add(self, message: dict[str, Any]) -> None:
        """Take a request from the server."""
        number, model_id, limits = message["request"], message["model"], limits_of(message["limits"])
        arrived = time.monotonic()
        try:
            prepared = self._interruption.run(
                number,
                limits.prediction_seconds,
                lambda: prepare(self._loaded, message["generation"], limits),
            )
        except BaseException as error:
            self._fail(number, self._failure(error, model_id, limits))
            return
        self._waiting.append(_Row(number, model_id, limits, prepared, arrived))

    def step(self) -> None:
        """Answer the next request."""
        row = self._waiting.popleft()
        self._begin(row.number)
        try:
            seconds = row.limits.prediction_seconds
            self._interruption.run(row.number, seconds, lambda: self._answer(row))
        except BaseException as error:
            self._fail(row.number, self._failure(error, row.model_id, row.limits))

    def _answer(self, row: _Row) -> None:
        model, prepared = self._loaded.model, row.prepared
        began = time.monotonic()
        streamer = _Streamer(lambda token: self._say(row, token))
        most = prepared.sampling.get("max_new_tokens", _DEFAULT_TOKENS)
        ids = torch.tensor([prepared.input_ids])
        is_greedy = prepared.sampling.get("temperature") == 0
        with torch.inference_mode():
            model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                streamer=streamer,
                max_new_tokens=most,
                **({"do_sample": False} if is_greedy else {}),
            )
        reason: FinishReason = "length" if prepared.reply.tokens >= most else "stop"
        now = time.monotonic()
        first_at = streamer.first_at or now
        finish: Finish = {
            "reason": prepared.reply.reason(reason),
            "usage": {
                "prompt_tokens": len(prepared.input_ids),
                "cached_tokens": 0,
                "completion_tokens": prepared.reply.tokens,
                "reasoning_tokens": 0,
            },
            "timings": {
                "queued_s": began - row.arrived,
                "prompt_s": first_at - began,
                "answer_s": now - first_at,
            },
        }
        self._send([(row.number, {**prepared.reply.end(reason), "finish": finish})])

    def _say(self, row: _Row, token: int) -> None:
        if row.number in self._stopped:
            raise Interrupted(overdue=False)
        if frame := row.prepared.reply.add(token):
            self._send([(row.number, frame)])

    def _failure(self, error: BaseException, model_id: str, limits: PredictionLimits) -> ModelhubError:
        if isinstance(error, Interrupted):
            if not error.overdue:
                return ModelhubError("prediction_failed", why="it was stopped.")
            limit = units.duration(limits.prediction_seconds)
            todo = "Ask for fewer tokens or send less, or raise the setting MODELHUB_PREDICTION_SECONDS."
            return ModelhubError("prediction_timeout", id=model_id, limit=limit, todo=todo)
        if isinstance(error, ModelhubError):
            return error
        return explain(error, self._loaded.facts["architecture"], "text-generation")


class _Streamer:
    """What ``generate`` hands each token to, the prompt first."""

    def __init__(self, say: Callable[[int], None]) -> None:
        self.first_at: float | None = None
        self._say = say
        self._is_prompt = True

    def put(self, value: Any) -> None:
        """Take the next token."""
        if self._is_prompt:
            self._is_prompt = False
            return
        self.first_at = self.first_at or time.monotonic()
        self._say(int(value))

    def end(self) -> None:
        """There are no more."""
