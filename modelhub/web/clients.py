"""Whether the client of a request is still there, for work that is done for it alone."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any

from modelhub.web.streams import CHUNKS_TO


def has_left(environ: Mapping[str, Any]) -> Callable[[], bool]:
    """A function that says whether the client of a request has closed its connection.

    A client that has only ended its own direction counts too: nothing tells it from one that has left.
    Always False where the server does not say which socket the response goes to.
    """
    green: Any = environ.get(CHUNKS_TO)
    sock: Any = getattr(green, "fd", None)
    if sock is None:
        return lambda: False

    def look() -> bool:
        try:
            return bool(sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"")
        except BlockingIOError:
            return False
        except OSError:
            return True

    return look
