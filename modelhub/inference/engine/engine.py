"""Answers several requests for text at once, token by token."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import torch

from modelhub import units
from modelhub.errors import ModelhubError
from modelhub.generation import Frame
from modelhub.inference.engine.alone import Alone
from modelhub.inference.engine.choosing import Chosen, is_usual
from modelhub.inference.engine.conversations import Conversations
from modelhub.inference.engine.packed_model import can_pack
from modelhub.inference.engine.packed_rows import CannotPack, PackedRows
from modelhub.inference.engine.row import Row, new_row
from modelhub.inference.failures import explain
from modelhub.inference.interruption import Interrupted, Interruption
from modelhub.inference.parameters import limits_of
from modelhub.limits import PredictionLimits
from modelhub.loader.finishing import LoadedModel


class Engine:
    """For the main thread of a model's process; any thread may call ``stop`` and ``notice``.

    ``send`` sends the frames of one step, ``fail`` how a request has failed, ``begin`` that one has begun.
    At most ``most_rows`` answers are written at once. ``conversation_bytes`` is how much may be kept of those
    that have ended; None: a part of the free memory. ``exact`` leaves each one to ``model.generate``.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        interruption: Interruption,
        send: Callable[[list[tuple[int, Frame]]], None],
        fail: Callable[[int, ModelhubError], None],
        begin: Callable[[int], None],
        exact: bool = False,
        most_rows: int = 8,
        conversation_bytes: int | None = None,
    ) -> None:
        self.conversations = Conversations(conversation_bytes)
        self._loaded = loaded
        self._interruption = interruption
        self._send = send
        self._fail = fail
        self._begin = begin
        self._most_rows = most_rows
        self._may_pack = not exact
        self._packed: PackedRows | None = None  # once there was a first request
        self._waiting: deque[Row] = deque()
        self._rows: dict[int, Row] = {}
        self._alone: dict[int, Alone] = {}
        self._frames: list[tuple[int, Frame]] = []
        self._stopped: set[int] = set()
        self._lock = threading.Lock()

    @property
    def has_work(self) -> bool:
        """Whether ``step`` has something to do."""
        return bool(self._waiting or self._rows)

    def stop(self, number: int) -> None:
        """End a request, or never begin it."""
        with self._lock:
            self._stopped.add(number)
        if self._packed is not None and number in self._rows:
            self._packed.abandon()

    def notice(self) -> None:
        """Another request has come, and will be added once the step under way has ended."""
        if self._packed is not None and len(self._rows) < self._most_rows:
            self._packed.notice()

    def add(self, message: dict[str, Any]) -> None:
        """Take a request from the server."""
        number, model_id, limits = message["request"], message["model"], limits_of(message["limits"])
        arrived = time.monotonic()
        try:
            row = self._interruption.run(
                number, limits.prediction_seconds, lambda: new_row(self._loaded, message, arrived)
            )
        except BaseException as error:
            self._fail(number, self._failure(error, model_id, limits))
            return
        self._waiting.append(row)

    def step(self) -> None:
        """Feed each answer under way: one token of those that write, and a part of the prompts."""
        if self._packed is not None:
            self._packed.prepare_to_step()
        self._end_stopped()
        with torch.inference_mode():
            self._begin_waiting()
            for number, alone in list(self._alone.items()):
                self._step_alone(self._rows[number], alone)
            packed = [row for row in self._rows.values() if row.number not in self._alone]
            if packed and self._packed is not None:
                self._step_packed(self._packed, packed)
        if self._frames:
            frames, self._frames = self._frames, []
            self._send(frames)

    def _end_stopped(self) -> None:
        now = time.monotonic()
        with self._lock:
            stopped, self._stopped = self._stopped, set()
        for row in [*self._rows.values(), *self._waiting]:
            if row.number in stopped:
                self._end(row, Interrupted(overdue=False))
            elif now >= row.deadline:
                self._end(row, Interrupted(overdue=True))

    def _begin_waiting(self) -> None:
        while self._waiting and len(self._rows) < self._most_rows:
            row = self._waiting.popleft()
            row.begin(time.monotonic())
            self._begin(row.number)
            others = list(self._rows.values())
            self._rows[row.number] = row
            packed = None if row.prepared.extra else self._packed_rows()
            if packed is None:
                self._leave_alone(row)
            else:
                packed.begin(row, others)

    def _packed_rows(self) -> PackedRows | None:
        """The answers that are written together; None where the model cannot do so."""
        if self._packed is None and self._may_pack:
            model = self._loaded.model
            self._may_pack = is_usual(model.generation_config) and can_pack(
                model, self._loaded.facts["attention"]
            )
            if self._may_pack:
                self._packed = PackedRows(model, self.conversations, self._take, self._end)
        return self._packed

    def _step_packed(self, packed: PackedRows, rows: list[Row]) -> None:
        try:
            packed.step(rows)
        except CannotPack:
            self._may_pack, self._packed = False, None
            for row in rows:
                row.cache, row.cached_tokens = None, 0
                self._leave_alone(row)

    def _leave_alone(self, row: Row) -> None:
        model = self._loaded.model
        self._alone[row.number] = Alone(model, row, lambda chosen: self._take(row, chosen), self._check)

    def _step_alone(self, row: Row, alone: Alone) -> None:
        try:
            if not alone.step() and row.number in self._rows:  # by a rule of its own
                self._frames.append((row.number, row.last("stop")))
                self._leave(row)
        except BaseException as error:
            self._end(row, error)

    def _check(self, row: Row) -> None:
        """Raise Interrupted if a row is to end."""
        if row.number in self._stopped:
            raise Interrupted(overdue=False)
        if time.monotonic() >= row.deadline:
            raise Interrupted(overdue=True)

    def _take(self, row: Row, chosen: Chosen) -> None:
        frames, has_ended = row.take(chosen)
        self._frames += [(row.number, frame) for frame in frames]
        if has_ended:
            self._leave(row)

    def _end(self, row: Row, error: BaseException) -> None:
        """A row has failed, or was stopped."""
        self._frames = [frame for frame in self._frames if frame[0] != row.number]
        self._leave(row)
        self._fail(row.number, self._failure(error, row.model_id, row.limits))

    def _leave(self, row: Row) -> None:
        self._rows.pop(row.number, None)
        if row in self._waiting:
            self._waiting.remove(row)
        if row.cache is not None:
            self.conversations.keep(row.cache)
            row.cache = None
        if (alone := self._alone.pop(row.number, None)) is not None:
            alone.close()

    def _failure(self, error: BaseException, model_id: str, limits: PredictionLimits) -> ModelhubError:
        if isinstance(error, Interrupted):
            if not error.overdue:
                return ModelhubError("prediction_failed", why="it was stopped.")
            limit = units.duration(limits.prediction_seconds)
            todo = "Ask for fewer tokens or send less, or raise the setting MODELHUB_PREDICTION_SECONDS."
            return ModelhubError("prediction_timeout", id=model_id, limit=limit, todo=todo)
        if isinstance(error, ModelhubError):
            return error
        if isinstance(error, MemoryError | RuntimeError):  # torch raises the latter for memory too
            self.conversations.let_go()
        return explain(error, self._loaded.facts["architecture"], "text-generation")
