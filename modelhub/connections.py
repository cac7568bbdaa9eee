"""The connections to the server: never so many that loads lack handles, and none that fails ends the server.

Where there are as many as there may be, a new one takes the place of the one that has waited longest for a
request. Those that are being served, such as WebSockets and streams, keep theirs; then new ones wait. One
that does not send what it should in time is closed: its first request, the rest of its headers, the body.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import threading
import time
from collections import Counter
from typing import Any

log = logging.getLogger(__name__)
MOST = 10_000
FIRST_S = 5.0  # until the headers of a request have come, from the connection or from the first line on
NEXT_S = 120.0  # until the next request
_RESERVED = 256  # handles for loads: each model has two or three
_PAUSE_S = 0.2
_SAY_AGAIN_S = 60.0
# The listener itself is gone. After anything else, the next connection may be well.
_FATAL = (errno.EBADF, errno.EINVAL, errno.ENOTSOCK)
_SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Connections:
    """Those that are open; for green threads, of which that of the listener alone calls ``make_room``."""

    def __init__(self, handles: int) -> None:
        """``handles`` is how many this process may have open."""
        self.most = min(MOST, handles - min(handles // 2, _RESERVED))
        self.most_of_address = self.most * 3 // 4
        self._open: dict[Any, str] = {}  # and from which address
        self._waiting: dict[Any, None] = {}  # for a request, the longest first
        self._due: dict[Any, float] = {}  # until when it has to send what it should
        self._leaving: set[Any] = set()
        self._addresses: Counter[str] = Counter()
        self._changed = threading.Event()
        self._said_at = -_SAY_AGAIN_S

    def opened(self, sock: Any, address: str = "") -> None:
        """A connection was accepted."""
        self._open[sock] = address
        self._addresses[address] += 1
        self._waiting[sock] = None
        self._due[sock] = time.monotonic() + FIRST_S

    def waits(self, sock: Any) -> None:
        """It waits for its next request, from now on."""
        if sock in self._open and sock not in self._leaving:
            self._due.setdefault(sock, time.monotonic() + NEXT_S)
            self._waiting.pop(sock, None)
            self._waiting[sock] = None
            self._changed.set()

    def sends_headers(self, sock: Any) -> None:
        """The first line of a request has come."""
        self._due[sock] = time.monotonic() + FIRST_S

    def is_served(self, sock: Any) -> None:
        """It has sent a request."""
        self._waiting.pop(sock, None)
        self._due.pop(sock, None)

    def sends_body(self, sock: Any, due: float) -> None:
        """It has to send a body until ``due``, on the monotonic clock, or until it ``is_served`` again."""
        self._due[sock] = due

    def closed(self, sock: Any) -> None:
        """It has ended, and its handle is free."""
        self._waiting.pop(sock, None)
        self._due.pop(sock, None)
        self._leaving.discard(sock)
        address = self._open.pop(sock, None)
        if address is not None:
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]
        self._changed.set()

    def close_late(self) -> None:
        """Close those that have not sent what they should."""
        now = time.monotonic()
        for sock in [sock for sock, due in self._due.items() if due < now]:
            self._close(sock)

    def has_room_for(self, address: str) -> bool:
        """Whether an address may have one more open; the one of it that has waited longest leaves for it."""
        if self._addresses[address] < self.most_of_address:
            return True
        self._say("One address has %d connections, as many as it may have", self.most_of_address)
        own = next((sock for sock in self._waiting if self._open.get(sock) == address), None)
        if own is None:
            return False
        self._close(own)
        return True

    def make_room(self) -> None:
        """Return once one more may be open; close the one that has waited longest."""
        while len(self._open) >= self.most:
            self._changed.clear()
            if len(self._open) - len(self._leaving) >= self.most:
                self._say("There are %d connections, as many as there may be", len(self._open))
                self.close_longest()
            self._changed.wait(_PAUSE_S)

    def close_longest(self) -> None:
        """Close the connection that has waited longest for a request, if one waits."""
        sock = next(iter(self._waiting), None)
        if sock is not None:
            self._close(sock)

    def _close(self, sock: Any) -> None:
        self._waiting.pop(sock, None)
        self._due.pop(sock, None)
        self._leaving.add(sock)
        with contextlib.suppress(OSError):  # wakes its green thread, which closes it
            sock.shutdown(socket.SHUT_RDWR)

    def refused(self, error: OSError) -> None:
        """One could not be accepted: make room where that is why, and let some time pass."""
        self._say("A connection could not be accepted (%s)", error.strerror)
        if error.errno in _SHORT:
            self.close_longest()
        time.sleep(_PAUSE_S)

    def _say(self, what: str, fact: object) -> None:
        now = time.monotonic()
        if now - self._said_at >= _SAY_AGAIN_S:
            self._said_at = now
            log.warning(f"{what}: new ones take the place of those that have waited longest.", fact)


class Listener:
    """Wraps a listening socket for a WSGI server that ends when ``accept`` raises."""

    def __init__(self, sock: socket.socket, connections: Connections) -> None:
        self._sock = sock
        self._connections = connections

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def accept(self) -> tuple[Any, Any]:
        """The next connection, and its address; raises OSError only where the listener is closed."""
        while True:
            time.sleep(0)  # while more and more come, too, all else goes on
            try:
                client, address = self._sock.accept()
            except OSError as error:
                if error.errno in _FATAL:
                    raise
                if error.errno not in (errno.ECONNABORTED, errno.EINTR):
                    self._connections.refused(error)
                continue
            if not self._connections.has_room_for(address[0]):
                client.close()
                continue
            self._connections.make_room()
            self._connections.opened(client, address[0])
            return client, address
