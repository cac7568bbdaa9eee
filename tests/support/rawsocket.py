"""A Socket.IO watcher on a bare WebSocket: reads only when the test asks for it, in order, at little cost."""

from __future__ import annotations

import base64
import json
import os
import socket
import time
import zlib
from typing import Any

from tests.support.truth import TERMINAL

_PING, _PONG, _NOOP = b"2", b"3", b"6"


class RawWatcher:
    """One WebSocket; ``deflate`` offers permessage-deflate as browsers do, ``buffer`` sets SO_RCVBUF."""

    def __init__(self, port: int, deflate: bool = False, buffer: int | None = None) -> None:
        self.sock = socket.socket()
        if buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.sock.settimeout(30)
        self.sock.connect(("127.0.0.1", port))
        self._data = b""
        self._inbox: list[bytes] = []
        self.noops = 0  # each means that a frame before it was sent in parts
        self._inflater = zlib.decompressobj(-15)
        key = base64.b64encode(os.urandom(16)).decode()
        offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n" if deflate else ""
        self.sock.sendall(
            f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n{offer}\r\n".encode()
        )
        while b"\r\n\r\n" not in self._data:
            self._data += self._more()
        self.headers, _, self._data = self._data.partition(b"\r\n\r\n")
        assert b" 101 " in self.headers, self.headers
        self._inbox += self.feed(b"")  # what came in one piece with the headers
        assert self.next().startswith(b"0{")
        self.send(b"40")
        assert self.next().startswith(b"40{")

    def subscribe(self, model_id: str) -> dict[str, Any]:
        """Join a model's room; returns the acknowledgement. Events before it stay in the inbox."""
        self.send(b'420["subscribe",' + json.dumps({"id": model_id}).encode() + b"]")
        before = []
        while not (message := self.next()).startswith(b"430["):
            before.append(message)
        self._inbox[:0] = before
        return dict(json.loads(message[3:])[0])

    def next(self) -> bytes:
        """The next message, pings and the like aside; waits for it."""
        while not self._inbox:
            self._inbox += self.feed(self._more())
        return self._inbox.pop(0)

    def next_event(self) -> tuple[str, dict[str, Any]]:
        """The next event: its name and payload; anything else on the way is an error."""
        message = self.next()
        assert message.startswith(b"42["), message
        name, payload = json.loads(message[2:])
        return name, payload

    def read_loads(self, loads: int = 1) -> list[tuple[str, dict[str, Any]]]:
        """The events up to the end of a load, or of several in a row."""
        events = []
        for _ in range(loads):
            events.append(self.next_event())
            while events[-1][0] not in TERMINAL:
                events.append(self.next_event())
        return events

    def send(self, text: bytes) -> None:
        """Send a short text frame, under a mask of zeros."""
        assert len(text) < 126
        self.sock.sendall(bytes((0x81, 0x80 | len(text), 0, 0, 0, 0)) + text)

    def feed(self, chunk: bytes) -> list[bytes]:
        """The messages that are complete with this chunk; responds to pings and leaves them out."""
        data = self._data + chunk
        messages, at = [], 0
        while len(data) - at >= 2:
            head, size, start = data[at], data[at + 1], at + 2
            assert head in (0x81, 0xC1, 0x88), f"not the start of a frame: {data[at : at + 20]!r}"
            if size == 126:
                size, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            elif size == 127:
                size, start = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
            if len(data) < start + size:
                break
            message, at = data[start : start + size], start + size
            if head == 0xC1:
                message = self._inflater.decompress(message + b"\0\0\xff\xff")
            if message == _PING:
                self.send(_PONG)
            elif message == _NOOP:
                self.noops += 1
            else:
                messages.append(message)
        self._data = data[at:]
        return messages

    def ended(self, timeout_s: float = 30) -> bool:
        """Read what is left; whether the server ended the connection in time."""
        deadline = time.monotonic() + timeout_s
        try:
            while time.monotonic() < deadline:
                if not self.sock.recv(65536):
                    return True
        except ConnectionResetError:
            return True
        return False

    def close(self) -> None:
        """Close the socket, without a closing handshake."""
        self.sock.close()

    def _more(self) -> bytes:
        chunk = self.sock.recv(65536)
        assert chunk, "the server ended the connection"
        return chunk
