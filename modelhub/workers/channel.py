"""JSON lines over a Unix socket, between the server, the zygote and the workers."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import threading
from collections import deque
from typing import Any, TypeAlias

MAX_LINE_BYTES = 64 * 1024 * 1024
_READ_BYTES = 256 * 1024
_MAX_DESCRIPTORS = 16

# A JSON object, whose other fields depend on "op" (a request) or "type" (what comes back):
#   server to zygote: fork, ended, spare, keep
#   zygote to server: warming, importing, warm, kept, child, forked, refused, spare
#   server to worker: load, admission, predict, generate, embed, stop, trim; or preview
#   server to reader: read
#   worker to server: checkpoint, need, loaded, error, begun, frames, result; or preview, error
Message: TypeAlias = dict[str, Any]


class Channel:
    """One end of a socket pair. Any thread may send; one reads."""

    def __init__(self, sock: socket.socket, takes_descriptors: bool = False) -> None:
        self.socket = sock
        self.descriptors: deque[int] = deque()  # that came with the messages, if it takes them
        self._takes_descriptors = takes_descriptors
        self._buffer = bytearray()
        self._sending = threading.Lock()

    def send(self, message: Message, body: bytes = b"") -> None:
        """Send one message, and after it ``body``, raw bytes whose length the message contains.

        Raises OSError if the other end is closed.
        """
        line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        with self._sending:
            self.socket.sendall(line + body)

    def send_with_fd(self, message: Message, fd: int) -> None:
        """Send one message that carries an open file descriptor; raises OSError."""
        line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        with self._sending:
            socket.send_fds(self.socket, [line], [fd])

    def receive(self, timeout_s: float | None = None) -> Message | None:
        """The next message, or None if none arrived within ``timeout_s`` seconds.

        Raises EOFError if the other end is closed, ValueError for a line that is not a JSON object.
        """
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > MAX_LINE_BYTES:
                raise ValueError("A line on the channel is too long.")
            if timeout_s is not None and not select.select([self.socket], [], [], timeout_s)[0]:
                return None
            self.fill()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        message = json.loads(line)
        if not isinstance(message, dict):
            raise ValueError("A line on the channel is not an object.")
        return message

    def receive_body(self, length: int) -> bytes:
        """The ``length`` raw bytes that follow a message; raises EOFError."""
        while len(self._buffer) < length:
            self.fill()
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        return body

    def buffered(self) -> bool:
        """Whether the buffer holds a whole message."""
        return b"\n" in self._buffer

    def shut_down(self) -> None:
        """End both directions, so that a reader in any thread gets EOFError; the descriptor stays open."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End both directions and close the descriptor; no thread may be reading any more."""
        self.shut_down()
        self.socket.close()

    def fill(self) -> None:
        """Read what has come, and wait where nothing has; raises EOFError."""
        try:
            if self._takes_descriptors:
                data, descriptors, _, _ = socket.recv_fds(self.socket, _READ_BYTES, _MAX_DESCRIPTORS)
                self.descriptors.extend(descriptors)
            else:
                data = self.socket.recv(_READ_BYTES)
        except ConnectionError:
            data = b""
        if not data:
            raise EOFError("The other end of the channel is closed.")
        self._buffer += data


def blocking_socket(descriptor: int) -> socket.socket:
    """The socket of a descriptor, blocking: the server, whose sockets are patched, leaves it non-blocking."""
    sock = socket.socket(fileno=descriptor)
    sock.setblocking(True)
    return sock
