"""Text that models write for clients: each generation has an id, by which anybody may end it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator

from modelhub.config import Settings
from modelhub.core.lifecycle import Lifecycle
from modelhub.core.load import Load, ended_on_purpose
from modelhub.core.tally import Tally
from modelhub.errors import ModelhubError
from modelhub.generation import Frame, GenerationRequest
from modelhub.states import Outcome
from modelhub.workers.pending import PendingGeneration

_LOOK_S = 0.2  # how often to look whether the client has left
_SILENCE_S = 1.0


def new_id() -> str:
    """The id of a generation."""
    return f"gen-{secrets.token_hex(12)}"


class Generation:
    """What a model writes for one request."""

    def __init__(
        self,
        generation_id: str,
        copy: Load,
        pending: PendingGeneration,
        has_left: Callable[[], bool],
        keep_s: float | None,
        on_end: Callable[[Generation], None],
        on_tokens: Callable[[int], None],
    ) -> None:
        self.id = generation_id
        self.model_id = copy.model_id
        self.outcome, self.code = Outcome.CANCELLED, ""
        self._copy = copy
        self._worker = copy.worker
        self._pending = pending
        self._has_left = has_left
        self._keep_s = keep_s
        self._on_end = on_end
        self._on_tokens = on_tokens
        self._has_ended = False

    def frames(self) -> Iterator[Frame | None]:
        """What is written, the last frame with ``finish``; None after each second without one.

        Raises ModelhubError. Whatever ends the iteration ends the work, also a client that ``has_left``.
        """
        quiet_since = looked_at = time.monotonic()
        written = 0
        try:
            while True:
                frame = self._pending.next(_LOOK_S)
                now = time.monotonic()
                if frame is not None:
                    quiet_since = now
                    before, written = written, max(written, frame.get("tokens", 0))
                    self._on_tokens(written - before)
                    if "finish" in frame:
                        self.outcome = Outcome.COMPLETED
                    yield frame
                    if "finish" in frame:
                        return
                elif self._pending.ended.is_set():
                    error = self._error()
                    if not self._has_ended:
                        self.outcome, self.code = Outcome.FAILED, error.code
                    raise error
                elif now - quiet_since >= _SILENCE_S:
                    quiet_since = now
                    yield None
                if now - looked_at >= _LOOK_S:
                    looked_at = now
                    if self._has_left():
                        self.cancel()
        finally:
            self.cancel()

    def cancel(self) -> None:
        """End the work; whoever reads the frames gets an error. Nothing happens where it has ended."""
        if self._has_ended:
            return
        self._has_ended = True
        if self._worker is not None and not self._pending.ended.is_set():
            self._worker.stop(self._pending)
        self._copy.use.end(self._keep_s)
        self._on_end(self)

    def _error(self) -> ModelhubError:
        """Why no frame comes any more."""
        if self._pending.result is not None:
            return ModelhubError.from_json(self._pending.result[1])
        if self._has_ended:
            return self._pending.stopped()
        assert self._worker is not None  # noqa: S101 - a copy that was ready has one
        ended = ended_on_purpose(self._copy, self._worker)
        return ended or self._worker.exit_error(self.model_id)


class Generations:
    """Those that are under way."""

    def __init__(self, settings: Settings, lifecycle: Lifecycle, tally: Tally) -> None:
        self._settings = settings
        self._tally = tally
        self._lifecycle = lifecycle
        self._running: dict[str, Generation] = {}

    def start(
        self,
        model_id: str,
        request: GenerationRequest,
        has_left: Callable[[], bool] = lambda: False,
        keep_s: float | None = None,
        generation_id: str | None = None,
    ) -> Generation:
        """Have a model that is in memory write text.

        ``keep_s`` seconds after its end the model leaves if nobody uses it, see ``core.use``.
        Raises ``wrong_state`` for a model that is not in memory, ``too_busy`` where too many wait already.
        """
        with self._tally.refusals("generate"):
            return self._start(model_id, request, has_left, keep_s, generation_id or new_id())

    def _start(
        self,
        model_id: str,
        request: GenerationRequest,
        has_left: Callable[[], bool],
        keep_s: float | None,
        new: str,
    ) -> Generation:
        load = self._lifecycle.loaded(model_id)
        copy = load.least_busy()
        worker = copy.worker
        assert worker is not None  # noqa: S101 - a ready copy has one
        if (waiting := worker.waiting) >= self._settings.max_waiting_predictions:
            raise ModelhubError("too_busy", id=load.model_id, waiting=waiting)
        try:
            pending = worker.generate(load.model_id, request, self._settings.limits)
        except ModelhubError:
            if (ended := ended_on_purpose(copy, worker)) is None:
                raise
            raise ended from None
        load.use.begin()
        on_tokens = self._tally.add_tokens
        generation = Generation(new, copy, pending, has_left, keep_s, self._forget, on_tokens)
        self._running[generation.id] = generation
        return generation

    def cancel(self, generation_id: str) -> str:
        """End one; returns the id of its model. Raises ``unknown_prediction``."""
        generation = self._running.get(generation_id)
        if generation is None:
            raise ModelhubError("unknown_prediction", id=generation_id)
        generation.cancel()
        return generation.model_id

    def _forget(self, generation: Generation) -> None:
        self._tally.add("generate", generation.outcome, generation.code)
        self._running.pop(generation.id, None)
