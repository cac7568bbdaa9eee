"""Streams of server-sent events: an event is encoded once for all readers, and written to each that waits.

Each reader holds a request, whose thread waits in ``Stream.read``. Waking a thousand threads for each event
takes many times as long as sending it. So where a stream has sent all that it had, and its server says which
socket it writes to, the thread that emits writes to it, in the framing of the server. Whatever is in the way
(a socket that is full, an event in between) wakes the reader's thread, which goes on from the model's log.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from modelhub.payloads import Snapshot
from modelhub.progress.log import ModelLog
from modelhub.progress.packing import Event
from modelhub.states import ACTIVE, EventName
from modelhub.web.fanout import SocketWriter, limit_unsent

CHUNKS_TO = "modelhub.chunks_to"  # in the environment of a request: the socket that its response goes to
_KEEP_ALIVE_S = 5.0


class Streams:
    """The streams that are being read, by load."""

    def __init__(self) -> None:
        self._streams: dict[str, set[Stream]] = {}
        self._newest: tuple[tuple[str, str, int], bytes] | None = None  # the last event, encoded

    def count(self) -> int:
        """How many are being read."""
        return sum(len(streams) for streams in list(self._streams.values()))

    def add(self, stream: Stream) -> None:
        """A stream begins to be read."""
        self._streams.setdefault(stream.load_id, set()).add(stream)

    def remove(self, stream: Stream) -> None:
        """Its reader has left, or the load has ended."""
        streams = self._streams.get(stream.load_id, set())
        streams.discard(stream)
        if not streams:
            self._streams.pop(stream.load_id, None)

    def end_all(self) -> None:
        """End each, so that its reader asks for it again."""
        for streams in list(self._streams.values()):
            for stream in list(streams):
                stream.end()

    def send(self, name: EventName, payload: Snapshot) -> None:
        """Send an event, which is in its model's log already, to all that read its load."""
        streams = self._streams.get(payload["load_id"] or "")
        if not streams:
            return
        event = Event(payload["seq"], name, payload)
        message = self.encode(event)
        chunk = b"%x\r\n%b\r\n" % (len(message), message)
        for stream in list(streams):
            stream.offer(event, chunk)

    def encode(self, event: Event) -> bytes:
        """The event as it is streamed; encoded once for all that read it at about the same time."""
        key = (event.payload["epoch"], event.payload["id"], event.seq)
        if self._newest is None or self._newest[0] != key:
            head = f"id: {event.payload['epoch']}:{event.seq}\nevent: {event.name}\n"
            self._newest = key, f"{head}data: {json.dumps(event.payload)}\n\n".encode()
        return self._newest[1]


class Stream:
    """The events of a load for one reader, after the event ``after``; ``environ`` is that of its request."""

    def __init__(
        self, streams: Streams, model_log: ModelLog, load_id: str, after: int, environ: Mapping[str, Any]
    ) -> None:
        self.load_id = load_id
        self._streams = streams
        self._log = model_log
        self._seen = after
        self._writer = _writer(environ)
        self._sent_at = time.monotonic()
        self._waits = False  # all that was yielded is sent
        self._has_ended = False
        self._wakeup = threading.Event()

    def read(self) -> Iterator[bytes]:
        """What is sent, until the load's terminal event."""
        self._streams.add(self)
        try:
            yield b"retry: 1000\n\n"
            while not self._has_ended:
                self._wakeup.clear()
                news = self._log.after(self._seen, 0.0)
                for event in of_load(news, self.load_id):
                    yield self._streams.encode(event)
                    if event.payload["state"] not in ACTIVE:
                        return
                self._seen = news[-1].seq if news else self._seen
                if not news and not self._wait():
                    yield b": waiting\n\n"
        finally:
            self._streams.remove(self)

    def end(self) -> None:
        """End it now, in the middle of its load."""
        self._has_ended = True
        self._waits = False
        self._wakeup.set()

    def offer(self, event: Event, chunk: bytes) -> None:
        """Write an event in its chunk if it is the next and nothing is in its way; else wake ``read``."""
        writer = self._writer
        is_next = self._waits and event.seq == self._seen + 1 and event.payload["state"] in ACTIVE
        if writer is None or not is_next or not writer.write(chunk):
            self._wakeup.set()
            return
        self._seen, self._sent_at = event.seq, time.monotonic()
        if writer.rest:
            self._waits = False
            self._wakeup.set()

    def _wait(self) -> bool:
        """Wait for news; returns False once nothing was sent for some seconds."""
        self._sent_at = time.monotonic()
        self._waits = self._writer is not None
        try:
            while (left_s := self._sent_at + _KEEP_ALIVE_S - time.monotonic()) > 0:
                if self._wakeup.wait(left_s):
                    return True
            return False
        finally:
            self._waits = False
            if self._writer is not None and self._writer.rest:
                self._writer.sendall(b"")


def of_load(events: list[Event], load_id: str) -> list[Event]:
    """Those of one load."""
    return [event for event in events if event.payload["load_id"] == load_id]


def _writer(environ: Mapping[str, Any]) -> SocketWriter | None:
    """The socket of the response; None where it is not one in chunks, or the server does not say which."""
    green: Any = environ.get(CHUNKS_TO)
    # A blocking socket would block all clients.
    if not hasattr(green, "fd") or green.fd.gettimeout() != 0:
        return None
    limit_unsent(green.fd)
    return SocketWriter(green)
