"""The answers that are written together: what each pass is fed, and what follows from it."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence

import torch

from modelhub.inference.engine.choosing import Chosen
from modelhub.inference.engine.conversations import Conversations
from modelhub.inference.engine.packed_model import PackedModel
from modelhub.inference.engine.prefill import Prefill
from modelhub.inference.engine.row import Row

log = logging.getLogger(__name__)
_LARGE_CHUNK = 64  # tokens of a prompt whose pass is abandoned for another request
_Plan = list[tuple[Row, list[int]]]


class CannotPack(Exception):
    """The first pass of a model has failed: it is not what it seemed to be."""


class _Abandoned(BaseException):
    """The pass under way is not finished: something has come up that goes first. It is repeated later."""


class PackedRows:
    """``take`` is called with each token that was chosen, ``end`` with a row whose pass has failed.

    Any thread may call ``abandon`` and ``notice``.
    """

    def __init__(
        self,
        model: object,
        conversations: Conversations,
        take: Callable[[Row, Chosen], None],
        end: Callable[[Row, BaseException], None],
    ) -> None:
        self._model = PackedModel(model, self._check)
        self._conversations = conversations
        self._take = take
        self._end = end
        self._prefill = Prefill()
        self._has_run = False
        self._is_to_end = False
        self._is_large = False  # the pass under way, and another request may have it abandoned
        self._was_abandoned = False
        self._deadline = math.inf

    def abandon(self) -> None:
        """Do not finish the pass under way."""
        self._is_to_end = True

    def notice(self) -> None:
        """Another request has come, which may be a short one: a long prompt lets it go first, once."""
        if self._is_large:
            self._is_to_end = True

    def begin(self, row: Row, others: Sequence[Row]) -> None:
        """Give a row its cache: with the beginning of its prompt, where another answer has that."""
        running = [other.cache for other in others if other.cache is not None]
        ids = row.prepared.input_ids
        row.cache = self._conversations.cache_for(ids, running) or self._model.new_cache()
        row.cached_tokens = len(row.cache.ids)

    def step(self, rows: list[Row]) -> None:
        """One pass. Raises CannotPack."""
        plan = self._prefill.plan(rows, time.monotonic())
        self._is_large = not self._was_abandoned and any(len(ids) > _LARGE_CHUNK for _, ids in plan)
        self._deadline = min(row.deadline for row, _ in plan)
        began = time.monotonic()
        try:
            self._run(plan)
        except _Abandoned:
            self._was_abandoned = self._is_large
            return
        except Exception as error:
            self._run_each(plan, error)
            return
        finally:
            self._is_large = False
        self._was_abandoned = False
        self._has_run = True
        self._prefill.learn(sum(len(ids) for _, ids in plan), time.monotonic() - began)

    def prepare_to_step(self) -> None:
        """Forget what was to be abandoned: call it before looking at what has come up."""
        self._is_to_end = False

    def _check(self) -> None:
        if self._is_to_end or time.monotonic() >= self._deadline:
            raise _Abandoned

    def _run(self, plan: _Plan) -> None:
        fed = [(row.cache, ids) for row, ids in plan if row.cache is not None]
        wanted = [place for place, (row, ids) in enumerate(plan) if len(ids) >= row.left]
        logits = self._model.run(fed, wanted)
        rows = [plan[place][0] for place in wanted]
        likeliest = logits.argmax(-1).tolist() if any(row.chooser.is_plain for row in rows) else []
        for place, row in enumerate(rows):
            if row.chooser.is_plain:
                self._take(row, Chosen(likeliest[place]))
            else:
                self._take(row, row.chooser.choose(logits[place], row.answer))

    def _run_each(self, plan: _Plan, error: Exception) -> None:
        """A pass has failed: run each row by itself, so that only those fail that it is due to."""
        if not self._has_run and not isinstance(error, MemoryError | torch.OutOfMemoryError):
            log.warning("A model cannot be fed several texts at once", exc_info=error)
            raise CannotPack from error
        if len(plan) == 1:
            self._end(plan[0][0], error)
            return
        for row, ids in plan:
            try:
                self._run([(row, ids)])
            except _Abandoned:
                return
            except Exception as own:
                self._end(row, own)
