"""A worker as the server sees it: a handle to the process that holds one model."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Generator
from dataclasses import asdict
from itertools import count
from typing import Any

from modelhub.checkpoints import Checkpoint, LoadSpec
from modelhub.errors import ModelhubError
from modelhub.payloads import Facts, Preview
from modelhub.workers.channel import Channel, Message

TICK_S = 0.1
_FIRST_TICK_S = 0.02  # many loads are over before a few longer ones have passed
_EXIT_TIMEOUT_S = 5.0


class Worker:
    """One child process, from ``Launcher.worker``: loads one model, then predicts until it ends.

    Use it as a context manager, or call ``close`` at the end. Any thread may call ``predict`` and ``kill``;
    one thread calls ``load`` and then ``serve``.
    """

    def __init__(
        self,
        worker_id: str,
        channel: Channel,
        end_process: Callable[[], None],
        link: socket.socket | None = None,
    ) -> None:
        self.id = worker_id
        self.pid: int | None = None
        self.mapped_bytes = 0  # of the model's memory, the bytes that are mapped from its files
        self._channel = channel
        self._link = link  # to the process that reads ahead, for the worker
        self._end_process = end_process
        self._exited = threading.Event()
        self._status: int | None = None
        self._why = ""
        self._killed = False
        self._requests = count(1)
        self._responses: dict[int, tuple[threading.Event, list[tuple[bool, bytes]]]] = {}

    def load(
        self, spec: LoadSpec, admit: Callable[[int], None] | None = None
    ) -> Generator[Checkpoint | None, None, Facts]:
        """Load ``spec``: yields its checkpoints, and None for each tick (at most 0.1 s) without one.

        ``admit`` is called with the bytes of memory needed and refuses by raising ModelhubError. Returns the
        facts of the loaded model. Raises ModelhubError when the load fails or the process exits.
        """
        self._send_load(spec)
        tick_s = _FIRST_TICK_S
        while True:
            message = self._receive(tick_s, spec.model_id)
            tick_s = min(TICK_S, 1.2 * tick_s)
            if message is None:
                yield None
            elif message["type"] == "checkpoint":
                yield Checkpoint(*message["checkpoint"])
            elif message["type"] == "need":
                refusal = _refusal(admit, message["bytes"])
                error = None if refusal is None else refusal.to_dict()
                self._send({"op": "admission", "error": error}, spec.model_id)
            elif message["type"] == "loaded":
                self.mapped_bytes = message["mapped"]
                facts: Facts = message["facts"]
                return facts
            elif message["type"] == "error":
                raise ModelhubError.from_dict(message["error"])

    def preview(self, spec: LoadSpec, timeout_s: float) -> Preview:
        """Preview a load of ``spec``, see ``loader.preview``; the process serves nothing else afterwards.

        Raises ModelhubError, ``hub_unreachable`` if it takes longer than ``timeout_s``.
        """
        self._send({"op": "preview", "spec": asdict(spec)}, spec.model_id)
        message = self._receive(timeout_s, spec.model_id)
        if message is None:
            raise ModelhubError("hub_unreachable", id=spec.model_id)
        if message["type"] == "error":
            raise ModelhubError.from_dict(message["error"])
        preview: Preview = message["preview"]
        return preview

    def serve(self) -> None:
        """Hand the results of predictions to ``predict`` until the process exits; for one thread, after
        ``load``."""
        try:
            while True:
                message = self._channel.receive()
                if message is not None and message["type"] == "result":
                    body = self._channel.receive_body(message["length"])
                    response = self._responses.pop(message["request"], None)
                    if response is not None:
                        received, box = response
                        box.append((message["ok"], body))
                        received.set()
        except (EOFError, OSError, ValueError):
            pass
        finally:
            for received, _ in list(self._responses.values()):
                received.set()

    def predict(self, model_id: str, inputs: Any, parameters: dict[str, Any]) -> tuple[bool, bytes]:
        """Send a prediction and wait for its result.

        Returns (True, a Prediction) or (False, an ErrorPayload), as JSON text: the server passes it on
        without parsing it. Raises ModelhubError if the process exits first.
        """
        number, received, box = next(self._requests), threading.Event(), list[tuple[bool, bytes]]()
        self._responses[number] = (received, box)
        request = {"op": "predict", "request": number, "model": model_id, "inputs": inputs}
        self._send({**request, "parameters": parameters}, model_id)
        received.wait()
        if not box:
            raise self.exit_error(model_id)
        return box[0]

    @property
    def is_busy(self) -> bool:
        """Whether a prediction is under way."""
        return bool(self._responses)

    def kill(self) -> None:
        """Kill the process; a thread that reads from it gets an end of file at once. Safe to call again."""
        self._killed = True
        self._channel.shut_down()
        self._end_process()

    def wait(self, timeout_s: float = _EXIT_TIMEOUT_S) -> bool:
        """Wait until the process has exited and was reaped; returns whether it has."""
        return self._exited.wait(timeout_s)

    def exit_error(self, model_id: str) -> ModelhubError:
        """Why the process exited, as an error; waits for its exit status if it was ever started."""
        if not self._killed or self.pid is not None:
            self.wait()
        status = self._status
        if status is None:
            return ModelhubError("worker_unavailable", why=self._why or "its parent process exited")
        if status < 0:
            return ModelhubError("killed", id=model_id, signal=_signal_name(-status))
        return ModelhubError("crashed", id=model_id, status=f"exit status {status}")

    def mark_exited(self, status: int | None, why: str = "") -> None:
        """Called by the launcher once the process was reaped; ``status`` is None if it is not known."""
        self._status, self._why = status, why
        self._exited.set()
        self._channel.shut_down()

    def close(self) -> None:
        """Kill the process if it still runs, wait for its exit, and close the socket."""
        self.kill()
        if self.pid is not None:
            self.wait()
        self._channel.close()
        if self._link is not None:
            self._link.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send_load(self, spec: LoadSpec) -> None:
        """Send the load, and with it the socket to the process that reads ahead."""
        message: Message = {"op": "load", "spec": asdict(spec)}
        link, self._link = self._link, None
        if link is None:
            self._send(message, spec.model_id)
            return
        with contextlib.closing(link):
            try:
                self._channel.send_with_fd(message, link.fileno())
            except OSError:
                raise self.exit_error(spec.model_id) from None

    def _send(self, message: Message, model_id: str) -> None:
        try:
            self._channel.send(message)
        except OSError:
            raise self.exit_error(model_id) from None

    def _receive(self, timeout_s: float, model_id: str) -> Message | None:
        try:
            return self._channel.receive(timeout_s)
        except (EOFError, OSError, ValueError):
            raise self.exit_error(model_id) from None


def _refusal(admit: Callable[[int], None] | None, need_bytes: int) -> ModelhubError | None:
    try:
        if admit is not None:
            admit(need_bytes)
    except ModelhubError as error:
        return error
    return None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
