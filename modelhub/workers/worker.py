"""A worker as the server sees it: a handle to the process that holds one model."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from dataclasses import asdict
from itertools import count
from typing import Any

from modelhub.checkpoints import Checkpoint, LoadSpec
from modelhub.errors import ModelhubError
from modelhub.workers.channel import Channel

TICK_S = 0.1
_EXIT_WAIT_S = 5.0


class Worker:
    """One child process, from ``Launcher.worker``: loads one model, then predicts until it ends."""

    def __init__(self, worker_id: str, channel: Channel, end_process: Callable[[], None]) -> None:
        self.id = worker_id
        self.pid: int | None = None
        self.mapped_bytes = 0
        self._channel = channel
        self._end_process = end_process
        self._exited = threading.Event()
        self._status: int | None = None
        self._why = ""
        self._killed = False
        self._requests = count(1)
        self._answers: dict[int, tuple[threading.Event, list[tuple[bool, bytes]]]] = {}

    def load(
        self, spec: LoadSpec, admit: Callable[[int], None] | None = None
    ) -> Generator[Checkpoint | None, None, dict[str, Any]]:
        """Load ``spec``: yields its checkpoints, and None for each tick (0.1 s) in which none came.

        ``admit`` is called with the bytes of memory needed and refuses by raising ModelhubError. Returns the
        facts of the loaded model. Raises ModelhubError when the load fails or the process ends.
        """
        self._send({"op": "load", "spec": asdict(spec)}, spec.model_id)
        while True:
            try:
                message = self._channel.receive(TICK_S)
            except (EOFError, OSError, ValueError):
                raise self.exit_error(spec.model_id) from None
            if message is None:
                yield None
            elif message["type"] == "checkpoint":
                yield Checkpoint(*message["checkpoint"])
            elif message["type"] == "need":
                self._send({"op": "admission", "error": _refusal(admit, message["bytes"])}, spec.model_id)
            elif message["type"] == "loaded":
                self.mapped_bytes = message["mapped"]
                facts: dict[str, Any] = message["facts"]
                return facts
            elif message["type"] == "failed":
                raise ModelhubError.from_dict(message["error"])

    def plan(self, spec: LoadSpec, timeout_s: float) -> dict[str, Any]:
        """What a load of ``spec`` would bring, see ``loader.planning``; the process is of no use afterwards.

        Raises ModelhubError, ``hub_unreachable`` where it took longer than ``timeout_s``.
        """
        self._send({"op": "plan", "spec": asdict(spec)}, spec.model_id)
        try:
            message = self._channel.receive(timeout_s)
        except (EOFError, OSError, ValueError):
            raise self.exit_error(spec.model_id) from None
        if message is None:
            raise ModelhubError("hub_unreachable", id=spec.model_id)
        if message["type"] == "failed":
            raise ModelhubError.from_dict(message["error"])
        plan: dict[str, Any] = message["plan"]
        return plan

    def serve(self) -> None:
        """Hand out answers to predictions until the process ends; to be run by one thread after ``load``."""
        try:
            while True:
                message = self._channel.receive()
                if message is not None and message["type"] == "result":
                    body = self._channel.receive_body(message["length"])
                    waiting = self._answers.pop(message["request"], None)
                    if waiting is not None:
                        waiting[1].append((message["ok"], body))
                        waiting[0].set()
        except (EOFError, OSError, ValueError):
            pass
        finally:
            for event, _ in list(self._answers.values()):
                event.set()

    def predict(self, model_id: str, inputs: Any, parameters: dict[str, Any]) -> tuple[bool, bytes]:
        """Ask for a prediction and wait for it: (whether it went well, JSON text).

        Raises ModelhubError when the process ends before it answers.
        """
        number, event, box = next(self._requests), threading.Event(), list[tuple[bool, bytes]]()
        self._answers[number] = (event, box)
        request = {"op": "predict", "request": number, "model": model_id, "inputs": inputs}
        self._send({**request, "parameters": parameters}, model_id)
        event.wait()
        if not box:
            raise self.exit_error(model_id)
        return box[0]

    def kill(self) -> None:
        """End the process now; whoever reads from it sees the end at once. Safe to call again."""
        self._killed = True
        self._channel.hang_up()
        self._end_process()

    def wait(self, timeout_s: float = _EXIT_WAIT_S) -> bool:
        """Wait until the process is gone and reaped; says whether it is."""
        return self._exited.wait(timeout_s)

    def exit_error(self, model_id: str) -> ModelhubError:
        """Why the process ended, as an error; waits for its exit status, unless it never was."""
        if not self._killed or self.pid is not None:
            self.wait()
        status = self._status
        if status is None:
            return ModelhubError("worker_unavailable", why=self._why or "its parent process ended")
        if status < 0:
            return ModelhubError("killed", id=model_id, signal=_signal_name(-status))
        return ModelhubError("crashed", id=model_id, status=f"exit status {status}")

    def ended(self, status: int | None, why: str = "") -> None:
        """Told by the launcher: the process is gone and reaped."""
        self._status, self._why = status, why
        self._exited.set()
        self._channel.hang_up()

    def close(self) -> None:
        """Kill the process if it still runs, wait for it, and give the socket back."""
        self.kill()
        if self.pid is not None:
            self.wait()
        self._channel.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, message: dict[str, Any], model_id: str) -> None:
        try:
            self._channel.send(message)
        except OSError:
            raise self.exit_error(model_id) from None


def _refusal(admit: Callable[[int], None] | None, need_bytes: int) -> dict[str, Any] | None:
    try:
        if admit is not None:
            admit(need_bytes)
    except ModelhubError as error:
        return error.to_dict()
    return None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
