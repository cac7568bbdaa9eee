"""What is passed on to the hub ends once its client has left, or the hub no longer answers anybody."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

_LOOK_S = 0.2
_PATIENCE_S = 1.0  # for an answer to begin, from a hub of which nothing is heard
_ASK_AGAIN_S = 2.0


@dataclass(slots=True, eq=False)
class Watched:
    """A request that is passed on over ``sock``; ``has_left()`` says whether its client has."""

    sock: socket.socket
    has_left: Callable[[], bool]
    began: float
    is_answered: bool = False


class Departures:
    """Looks after all requests that are under way, in one thread that runs while there are any.

    A thread that waits for the hub cannot look whether its client is still there: this one shuts the
    connection down, and it wakes. ``is_there()`` says whether the hub answers; it may take a second or two.
    """

    def __init__(self, is_there: Callable[[], bool]) -> None:
        self._is_there = is_there
        self._watched: set[Watched] = set()
        self._lock = threading.Lock()
        self._asked_at = 0.0
        self._runs = False

    def add(self, sock: socket.socket, has_left: Callable[[], bool]) -> Watched:
        """Look after a request from now on."""
        watched = Watched(sock, has_left, time.monotonic())
        with self._lock:
            self._watched.add(watched)
            starts, self._runs = not self._runs, True
        if starts:
            threading.Thread(target=self._run, daemon=True).start()
        return watched

    def remove(self, watched: Watched) -> None:
        """A request has ended."""
        with self._lock:
            self._watched.discard(watched)

    def _run(self) -> None:
        while True:
            time.sleep(_LOOK_S)
            with self._lock:
                found = list(self._watched)
                if not found:
                    self._runs = False
                    return
            for one in found:
                if one.has_left():
                    _end(one)
            self._end_hopeless([one for one in found if not one.is_answered])

    def _end_hopeless(self, unanswered: list[Watched]) -> None:
        now = time.monotonic()
        late = [one for one in unanswered if now - one.began > _PATIENCE_S]
        if not late or now - self._asked_at < _ASK_AGAIN_S:
            return
        self._asked_at = now
        if not self._is_there():
            for one in late:
                _end(one)


def _end(watched: Watched) -> None:
    with suppress(OSError):  # it has ended
        watched.sock.shutdown(socket.SHUT_RDWR)


def answers(connection: http.client.HTTPConnection) -> bool:
    """Whether the server at the other end answers at all."""
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
