"""One worker of the hub on a node: a local process, and what passes between the two."""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict

from modelhub.checkpoints import LoadSpec
from modelhub.cluster.outbox import Outbox
from modelhub.cluster.room import Room
from modelhub.errors import ModelhubError
from modelhub.workers.channel import Message
from modelhub.workers.children import Exit
from modelhub.workers.environment import hub_token
from modelhub.workers.handle import EXIT_TIMEOUT_S
from modelhub.workers.worker import Worker

log = logging.getLogger(__name__)
_READ_BYTES = 256 * 1024


class Relay:
    """Passes on what hub and worker say: message by message while it loads, bytes from then on.

    To the load it adds the folders of this node (``localize``), to the worker's question for memory what is
    free here; it admits the load itself, at once or once the hub has made room. ``on_change`` is called when
    the model is ready, ``on_end`` once the process has ended. Any thread may call any method.
    """

    def __init__(
        self,
        name: str,
        worker: Worker,
        localize: Callable[[LoadSpec], LoadSpec],
        room: Room,
        out: Outbox,
        on_change: Callable[[Relay], None],
        on_end: Callable[[Relay], None],
    ) -> None:
        self.name = name
        self.worker = worker
        self.process = worker.process
        self.is_ready = False
        self._localize = localize
        self._room = room
        self._out = out
        self._on_change = on_change
        self._on_end = on_end
        self._spec: LoadSpec | None = None
        self._need = 0
        self._told_pid = False
        self._from_hub: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        for work in (self._write, self._read):
            threading.Thread(target=work, name=f"modelhub-{name}", daemon=True).start()

    def begin(self, spec: Mapping[str, object], token: str | None) -> None:
        """Have the worker begin to load ``spec``, with the hub's ``token``; before anything is fed."""
        with contextlib.suppress(OSError):  # it has ended: a thread says so
            self._pass_down({"op": "load", "spec": spec, "token": token})

    def feed(self, data: bytes) -> None:
        """Bytes from the hub, in order."""
        self._from_hub.put(data)

    def kill(self) -> None:
        """End the process."""
        self.process.kill()

    # From the hub to the worker

    def _write(self) -> None:
        lines = b""
        # The worker has ended: its other thread says so.
        with contextlib.suppress(OSError):
            while (data := self._from_hub.get()) is not None:
                if self.is_ready:
                    self.process.channel.socket.sendall(lines + data)
                    lines = b""
                    continue
                *whole, lines = (lines + data).split(b"\n")
                for line in whole:
                    self._pass_down(json.loads(line))

    def _pass_down(self, message: Message) -> None:
        channel = self.process.channel
        if message["op"] in ("load", "preview"):
            spec = self._spec = self._localize(LoadSpec(**message["spec"]))
            token = hub_token() or message["token"]
            message = {**message, "spec": asdict(spec), "token": token}
            link, self.process.link = self.process.link, None
            if link is not None and message["op"] == "load":
                with contextlib.closing(link):
                    channel.send_with_fd(message, link.fileno())
                return
        elif message["op"] == "admission" and message["error"] is None and self._spec is not None:
            message = {**message, "error": self._refusal(self._spec)}
        channel.send(message)

    def _refusal(self, spec: LoadSpec) -> object:
        try:
            self._room.admit(self.name, self.process, spec.model_id, self._need, spec.force)
        except ModelhubError as error:
            return error.to_dict()
        return None

    # From the worker to the hub

    def _read(self) -> None:
        try:
            self._pass_messages()
            while data := self.process.channel.socket.recv(_READ_BYTES):
                self._send(data)
        except (OSError, ValueError):
            pass
        finally:
            self._end()

    def _pass_messages(self) -> None:
        """Pass messages on until the model is ready or the channel ends."""
        lines = b""
        while data := self.process.channel.socket.recv(_READ_BYTES):
            *whole, lines = (lines + data).split(b"\n")
            for number, line in enumerate(whole):
                message = json.loads(line)
                if message["type"] == "need":
                    line = _line(self._admit(message))
                elif message["type"] == "loaded":
                    self._room.settle(self.name, message["mapped"])
                    self.is_ready = True  # before the hub knows, which may send a request then
                    self._send(b"\n".join([*whole[number:], lines]))
                    self._on_change(self)
                    return
                self._send(line + b"\n")

    def _admit(self, message: Message) -> Message:
        """Admit the load where it fits; else the hub may have models leave for it, and answers."""
        self._need, free = message["bytes"], self._room.free_for(self.name)
        is_admitted = self._spec is not None and self._refusal(self._spec) is None
        if is_admitted:
            self.process.channel.send({"op": "admission", "error": None})
        return {**message, "free": free, "admitted": is_admitted}

    def _send(self, data: bytes) -> None:
        if not self._told_pid and self.process.pid is not None:
            self._told_pid = True
            self._out.say({"type": "forked", "worker": self.name, "pid": self.process.pid})
        self._out.send(self.name, data)

    def _end(self) -> None:
        process = self.process
        process.kill()
        # One that was not forked yet is killed once it is.
        has_begun = process.is_over or process.pid is not None
        ended = process.wait(EXIT_TIMEOUT_S) if has_begun else None
        self._from_hub.put(None)
        self._room.release(self.name)
        process.close()
        self._on_end(self)
        message = {
            "type": "exited",
            "worker": self.name,
            "exit": ended or Exit(None),
            "refusal": process.refusal,
        }
        self._out.say(message)


def _line(message: Message) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()
