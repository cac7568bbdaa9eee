"""A worker as the server sees it: a handle to the process that holds one model."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator
from dataclasses import asdict
from itertools import count
from typing import Any, Literal

from modelhub.checkpoints import Checkpoint, LoadSpec
from modelhub.errors import ModelhubError
from modelhub.generation import GenerationRequest
from modelhub.limits import PredictionLimits
from modelhub.payloads import Facts, Preview
from modelhub.workers.channel import Message
from modelhub.workers.environment import hub_token
from modelhub.workers.exit_cause import exit_error
from modelhub.workers.handle import EXIT_TIMEOUT_S, Process
from modelhub.workers.pending import PendingGeneration, PendingPrediction

TICK_S = 0.1
_FIRST_TICK_S = 0.02  # many loads are over before a few longer ones have passed
_MOST_STARTS = 3
_LOOK_S = 0.2  # how often to look whether a client has left, or a prediction takes too long
_LIMITS = PredictionLimits()


class Worker:
    """One child process, from ``Launcher.worker``: loads one model, then predicts until it ends.

    ``start(fresh)`` has it forked. Use it as a context manager, or call ``close`` at the end. Any thread may
    call ``predict`` and ``kill``; one thread calls ``begin``, where it has other things to do meanwhile,
    ``load`` and then ``serve``.
    """

    def __init__(self, start: Callable[[bool], Process], fresh: bool) -> None:
        self.mapped_bytes = 0  # of the model's memory, the bytes that are mapped from its files
        self.tokens_written = 0  # in all generations
        # Free where its process is, as of when it asked for memory; None where the server itself knows.
        self.free_bytes: int | None = None
        self.on_use: Callable[[], None] = lambda: None  # called when a request comes, begins or ends
        self._start = start
        self._lock = threading.Lock()
        self._killed = False
        self._requests = count(1)
        self._pending: dict[int, PendingPrediction] = {}
        self._overdue: PendingPrediction | None = None  # for which the process was ended
        self._process = start(fresh)
        self._was_sent = False  # the load, to its process
        self._step = 0  # of the load; 0 before and after it

    @property
    def pid(self) -> int | None:
        """The id of its process, once it was forked."""
        return self._process.pid

    @property
    def process(self) -> Process:
        """Its process, for one who alone passes on what it says, instead of ``load`` and ``serve``."""
        return self._process

    def anonymous_bytes(self) -> int:
        """The memory that its process has for itself, in bytes; 0 where that is not known (yet)."""
        return self._process.anonymous_bytes()

    def begin(self, spec: LoadSpec) -> None:
        """Have the process begin to load ``spec``; ``load`` follows it."""
        self._was_sent = True
        self._send_load(spec)

    def load(
        self, spec: LoadSpec, admit: Callable[[int], None] | None = None
    ) -> Generator[Checkpoint | None, None, Facts]:
        """Load ``spec``: yields its checkpoints, and None for each tick (at most 0.1 s) without one.

        ``admit`` is called with the bytes of memory needed and refuses by raising ModelhubError. Returns the
        facts of the loaded model. Raises ModelhubError when the load fails or the process exits. Another one
        takes its place where it has exited before it has begun, as one may that has waited for a load.
        """
        starts, has_begun, tick_s = 1, False, _FIRST_TICK_S
        if not self._was_sent:
            self.begin(spec)
        while True:
            try:
                message = self._receive(tick_s, spec.model_id)
            except ModelhubError:
                if has_begun or starts == _MOST_STARTS or not self._start_again():
                    raise
                starts += 1
                self._send_load(spec)
                continue
            has_begun = has_begun or message is not None
            tick_s = min(TICK_S, 1.2 * tick_s)
            if message is None:
                yield None
            elif message["type"] == "checkpoint":
                reached = Checkpoint(*message["checkpoint"])
                self._step = reached.step
                yield reached
            elif message["type"] == "need":
                self.free_bytes = message.get("free")
                refusal = _refusal(admit, message["bytes"])
                if not message.get("admitted"):
                    error = None if refusal is None else refusal.to_dict()
                    self._send({"op": "admission", "error": error}, spec.model_id)
                elif refusal is not None:
                    raise refusal
            elif message["type"] == "loaded":
                self.mapped_bytes, self._step = message["mapped"], 0
                facts: Facts = message["facts"]
                return facts
            elif message["type"] == "error":
                raise ModelhubError.from_dict(message["error"])

    def preview(self, spec: LoadSpec, timeout_s: float) -> Preview:
        """Preview a load of ``spec``, see ``loader.preview``; the process serves nothing else afterwards.

        Raises ModelhubError, ``hub_unreachable`` if it takes longer than ``timeout_s``.
        """
        self._send({"op": "preview", "spec": asdict(spec), "token": hub_token()}, spec.model_id)
        message = self._receive(timeout_s, spec.model_id)
        if message is None:
            raise ModelhubError("hub_unreachable", id=spec.model_id)
        if message["type"] == "error":
            raise ModelhubError.from_dict(message["error"])
        preview: Preview = message["preview"]
        return preview

    def serve(self) -> None:
        """Hand the results of predictions to ``predict`` until the process exits; for one thread, after
        ``load``. Ends the process where it does not end a prediction whose time is over."""
        channel = self._process.channel
        try:
            while True:
                message = channel.receive(_LOOK_S if self._pending else None)
                if message is None:
                    self._end_overdue()
                elif message["type"] == "begun":
                    if (prediction := self._pending.get(message["request"])) is not None:
                        prediction.begin()
                        self.on_use()
                elif message["type"] == "frames":
                    self._take_frames(message["frames"])
                elif message["type"] == "result":
                    body = channel.receive_body(message["length"])
                    if (prediction := self._take(message["request"])) is not None:
                        prediction.end((message["ok"], body))
        except (EOFError, OSError, ValueError):
            pass
        finally:
            for prediction in list(self._pending.values()):
                prediction.lose()

    def _take_frames(self, frames: list[Any]) -> None:
        """Hand frames to those who wait for them; the last one of each ends it."""
        for number, frame in frames:
            generation = self._pending.get(number)
            if isinstance(generation, PendingGeneration):
                self.tokens_written += generation.add(frame)
                if "finish" in frame:
                    self._take(number)
                    generation.lose()

    def _add(self, request: PendingPrediction) -> None:
        self._pending[request.number] = request
        self.on_use()

    def _take(self, number: int) -> PendingPrediction | None:
        request = self._pending.pop(number, None)
        if request is not None:
            self.on_use()
        return request

    def trim(self) -> None:
        """Ask the process to let go of what it keeps only to be quicker, as caches of conversations."""
        with contextlib.suppress(OSError):
            self._process.channel.send({"op": "trim"})

    def generate(
        self, model_id: str, request: GenerationRequest, limits: PredictionLimits = _LIMITS
    ) -> PendingGeneration:
        """Have the process write text; take the frames from what is returned, or ``stop`` it.

        Raises ModelhubError if the process has exited.
        """
        generation = PendingGeneration(next(self._requests), model_id, limits.prediction_seconds)
        self._add(generation)
        message = {"op": "generate", "request": generation.number, "model": model_id}
        self._send({**message, "generation": request, "limits": asdict(limits)}, model_id)
        return generation

    def stop(self, generation: PendingGeneration) -> None:
        """Have the process end a generation, which is over at once for those who wait for it."""
        if self._take(generation.number) is not None:
            with contextlib.suppress(ModelhubError):
                self._send({"op": "stop", "request": generation.number}, generation.model_id)
        generation.lose()

    def _stop(self, prediction: PendingPrediction) -> None:
        """Have the process end a prediction; one that waits leaves at once."""
        self._send({"op": "stop", "request": prediction.number}, prediction.model_id)
        if not prediction.has_begun and self._take(prediction.number) is not None:
            raise prediction.stopped()

    def _end_overdue(self) -> None:
        """Kill the process if its prediction should have ended long ago, and a single call holds it up."""
        overdue = (one for one in list(self._pending.values()) if one.is_overdue)
        self._overdue = next(overdue, self._overdue)
        if self._overdue is not None:
            self._process.kill()

    def predict(
        self,
        model_id: str,
        inputs: Any,
        parameters: dict[str, Any],
        limits: PredictionLimits = _LIMITS,
        has_left: Callable[[], bool] = lambda: False,
        op: Literal["predict", "embed"] = "predict",
    ) -> tuple[bool, bytes]:
        """Send a prediction and wait for its result; once its client ``has_left``, it is stopped.

        Returns (True, what ``op`` returns: a Prediction, or embeddings) or (False, an ErrorPayload), as JSON
        text: the server passes it on without parsing it. Raises ModelhubError if the process exits first.
        """
        prediction = PendingPrediction(next(self._requests), model_id, limits.prediction_seconds)
        self._add(prediction)
        request = {"op": op, "request": prediction.number, "model": model_id, "inputs": inputs}
        self._send({**request, "parameters": parameters, "limits": asdict(limits)}, model_id)
        while not prediction.ended.wait(_LOOK_S):
            if has_left():
                self._stop(prediction)
                break
        prediction.ended.wait()
        if prediction.result is None:
            raise self.exit_error(model_id)
        return prediction.result

    @property
    def is_busy(self) -> bool:
        """Whether a prediction is under way."""
        return bool(self._pending)

    @property
    def requests(self) -> tuple[int, int]:
        """How many requests the process works on, and how many wait for that."""
        running = sum(one.has_begun for one in list(self._pending.values()))
        return running, len(self._pending) - running

    @property
    def waiting(self) -> int:
        """How many predictions wait for those that run; the first one does not, if none runs."""
        running, waiting = self.requests
        return max(0, waiting - (0 if running else 1))

    def kill(self) -> None:
        """Kill the process; a thread that reads from it gets an end of file at once. Safe to call again."""
        with self._lock:
            self._killed = True
        self._process.kill()

    def wait(self, timeout_s: float = EXIT_TIMEOUT_S) -> bool:
        """Wait until the process has exited and was reaped; returns whether it has."""
        return self._process.wait(timeout_s) is not None

    def exit_error(self, model_id: str) -> ModelhubError:
        """Why the process exited, as an error; waits for its exit status if it was ever started."""
        if self._overdue is not None:
            return self._overdue.error()
        process = self._process
        if process.failure is not None:
            return process.failure
        ended = None if self._killed and process.pid is None else process.wait(EXIT_TIMEOUT_S)
        if ended is None or process.pid is None:
            why = process.refusal or "their parent process has ended"
            return ModelhubError("worker_unavailable", why=why)
        return exit_error(model_id, ended, self._step)

    def close(self) -> None:
        """Kill the process if it still runs, wait for its exit, and close the sockets."""
        self.kill()
        self._process.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start_again(self) -> bool:
        """Have another process forked instead of one that has ended; False where that makes no sense."""
        ended = self._process
        if self._killed or ended.refusal is not None:
            return False
        ended.close()
        process = self._start(True)
        with self._lock:
            self._process, killed = process, self._killed
        if killed:
            process.kill()
        return True

    def _send_load(self, spec: LoadSpec) -> None:
        """Send the load, and with it the socket to the process that reads ahead; ``_receive`` says if it has
        exited."""
        process = self._process
        if process.is_loading:
            return
        link, process.link = process.link, None
        message: Message = {"op": "load", "spec": asdict(spec), "token": hub_token()}
        with contextlib.suppress(OSError):
            if link is None:
                process.channel.send(message)
                return
            with contextlib.closing(link):
                process.channel.send_with_fd(message, link.fileno())

    def _send(self, message: Message, model_id: str) -> None:
        try:
            self._process.channel.send(message)
        except OSError:
            raise self.exit_error(model_id) from None

    def _receive(self, timeout_s: float, model_id: str) -> Message | None:
        try:
            return self._process.channel.receive(timeout_s)
        except (EOFError, OSError, ValueError):
            raise self.exit_error(model_id) from None


def _refusal(admit: Callable[[int], None] | None, need_bytes: int) -> ModelhubError | None:
    try:
        if admit is not None:
            admit(need_bytes)
    except ModelhubError as error:
        return error
    return None
