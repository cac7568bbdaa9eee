"""JSON lines over a Unix socket: how the web process, the zygote and the workers talk."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import threading
from typing import Any

MAX_LINE_BYTES = 64 * 1024 * 1024
_READ_BYTES = 256 * 1024


class Channel:
    """One end of a socket. Many threads may send; one reads."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._buffer = bytearray()
        self._sending = threading.Lock()

    def send(self, message: dict[str, Any], body: bytes = b"") -> None:
        """Send one message, and raw bytes behind it whose length the message tells.

        Raises OSError when the other end is gone.
        """
        line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        with self._sending:
            self.socket.sendall(line + body)

    def send_with_fd(self, message: dict[str, Any], fd: int) -> None:
        """Send one message that carries an open file descriptor; raises OSError."""
        line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        with self._sending:
            socket.send_fds(self.socket, [line], [fd])

    def receive(self, timeout_s: float | None = None) -> dict[str, Any] | None:
        """The next message, or None when none came in ``timeout_s`` seconds.

        Raises EOFError when the other end is gone, ValueError for a line that is no JSON object.
        """
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > MAX_LINE_BYTES:
                raise ValueError("A line on the channel is too long.")
            if timeout_s is not None and not select.select([self.socket], [], [], timeout_s)[0]:
                return None
            self._fill()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        message = json.loads(line)
        if not isinstance(message, dict):
            raise ValueError("A line on the channel is not an object.")
        return message

    def receive_body(self, length: int) -> bytes:
        """The ``length`` raw bytes that follow a message; raises EOFError."""
        while len(self._buffer) < length:
            self._fill()
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        return body

    def feed(self, data: bytes) -> None:
        """Append bytes that were read from the socket by other means (with descriptors beside them)."""
        self._buffer += data

    def buffered(self) -> bool:
        """Whether a whole message waits in the buffer."""
        return b"\n" in self._buffer

    def hang_up(self) -> None:
        """End both directions; a reader, in this thread or another, sees the end. The descriptor stays."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End both directions and give the descriptor back; nobody may be reading any more."""
        self.hang_up()
        self.socket.close()

    def _fill(self) -> None:
        try:
            data = self.socket.recv(_READ_BYTES)
        except ConnectionError:
            data = b""
        if not data:
            raise EOFError("The other end of the channel is gone.")
        self._buffer += data
