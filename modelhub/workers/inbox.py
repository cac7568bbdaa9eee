"""What the server sends to a worker, received while the worker's main thread works."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable

from modelhub.inference.interruption import Interruption
from modelhub.workers.channel import Channel, Message


class Inbox:
    """The messages of a channel in order, but ``stop`` at once. The process exits when the channel ends."""

    def __init__(self, channel: Channel, interruption: Interruption) -> None:
        self._channel = channel
        self._interruption = interruption
        self.on_stop: Callable[[int], None] = lambda number: None
        self.on_generate: Callable[[], None] = lambda: None  # called in the thread that receives
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._waiting: dict[int, Message] = {}  # the predictions among them
        threading.Thread(target=self._read, daemon=True).start()

    def get(self) -> Message:
        """The next message; waits for it."""
        return self._begin(self._messages.get())

    def poll(self, seconds: float) -> Message | None:
        """The next message; None if none comes in so many seconds."""
        try:
            return self._begin(self._messages.get(seconds > 0, seconds))
        except queue.Empty:
            return None

    def _begin(self, message: Message) -> Message:
        self._waiting.pop(message.get("request", 0), None)
        return message

    def _read(self) -> None:
        try:
            while True:
                message = self._channel.receive()
                if message is not None:
                    self._take(message)
        finally:  # whatever has ended it: a process that hears nothing any more is of no use
            os._exit(0)

    def _take(self, message: Message) -> None:
        if message["op"] == "stop":
            number = message["request"]
            self._interruption.stop(number)
            self.on_stop(number)
            if (waiting := self._waiting.get(number)) is not None:
                # They may be large, and nobody needs them any more.
                waiting["inputs"] = waiting["generation"] = None
            return
        if message["op"] in ("predict", "generate", "embed"):
            self._waiting[message["request"]] = message
        self._messages.put(message)
        if message["op"] == "generate":
            self.on_generate()
