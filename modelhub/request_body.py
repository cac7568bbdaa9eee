"""The body of a request: it ends early where it does not come in time, or in chunks that are none."""

from __future__ import annotations

import re
import time
from typing import Any

from modelhub.connections import Connections

PATIENCE_S = 10.0  # without a byte; all of it may take as long, and so much for each byte:
_S_PER_BYTE = 1 / 64_000
_DISCARD_BYTES = 32 * 1024 * 1024  # of a body that is refused: so that its client sees why
_PIECE_BYTES = 64 * 1024
_CHUNK = re.compile(rb"[0-9a-fA-F]{1,8}\r\n")
_LINE_BYTES = 64


class Body:
    """Wraps the input of a request, as WSGI has it; ``length`` is 0 for a body in chunks."""

    def __init__(self, own: Any, connections: Connections, sock: Any, length: int) -> None:
        self._own = own
        if own.chunked_input:
            own.rfile = _Chunks(own.rfile)
        self._connections = connections
        self._sock = sock
        self._due = time.monotonic() + PATIENCE_S + length * _S_PER_BYTE
        self._is_cut = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def read(self, size: int | None = None) -> bytes:
        """Up to ``size`` bytes, or all of them."""
        return self._read(self._own.read, size)

    def readline(self, size: int | None = None) -> bytes:
        """A line of it."""
        return self._read(self._own.readline, size)

    def readlines(self, hint: int | None = None) -> list[bytes]:
        """Its lines."""
        return self.read().splitlines(keepends=True)

    def __iter__(self) -> Any:
        return iter(self.readline, b"")

    def discard(self) -> bool:
        """Read the rest, which nobody needs; returns whether the next request can begin after it."""
        for _ in range(_DISCARD_BYTES // _PIECE_BYTES):
            if not self._read(self._own.read, _PIECE_BYTES):
                return not self._is_cut
        return False

    def _read(self, read: Any, size: int | None) -> bytes:
        if self._is_cut:
            return b""
        before = self._sock.gettimeout()
        self._sock.settimeout(PATIENCE_S)
        self._connections.sends_body(self._sock, self._due)
        try:
            data: bytes = read(size)
            return data
        except (OSError, ValueError):  # it is late, has left, or its chunks are none
            self._is_cut = True
            return b""
        finally:
            self._connections.is_served(self._sock)
            self._sock.settimeout(before)
            time.sleep(0)  # between two pieces of a large one


class _Chunks:
    """Wraps what a body in chunks is read from: the lines between its data are as they have to be.

    Python takes ``1_0`` and ``0x10`` for numbers, too. What a proxy reads otherwise
    hides a request in a body.
    """

    def __init__(self, own: Any) -> None:
        self._own = own
        self._is_after_data = False
        self._is_last = False

    def read(self, size: int) -> bytes:
        """Data of a chunk."""
        self._is_after_data = True
        data: bytes = self._own.read(size)
        return data

    def readline(self, size: int = -1) -> bytes:
        """The size of a chunk, or the end of one; raises ValueError for anything else."""
        line: bytes = self._own.readline(_LINE_BYTES)
        if self._is_after_data or self._is_last:
            self._is_after_data = False
            is_right = line == b"\r\n"
        else:
            is_right = _CHUNK.fullmatch(line) is not None
            self._is_last = is_right and int(line, 16) == 0
        if not is_right:
            raise ValueError("not a chunk")
        return line
