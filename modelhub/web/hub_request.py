"""One request of a web process to the hub, the server that loads models: both directions in small pieces.

Each has a connection of its own. A command must not meet a kept one that the hub has just closed, since
nobody could tell then whether it was carried out.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlsplit

from modelhub.web import vouching

CONNECT_S = 2.0
_PIECE_BYTES = 64 * 1024
_IN_PATH = "/:@!$&'()*+,;=~"
_IN_QUERY = _IN_PATH + '?%[]{}|^`"<>\\'  # as it came: it was not decoded
# Of one connection alone: RFC 9110, 7.6.1. The host is the hub's own, the length that of what is sent.
_OF_CONNECTION = frozenset(
    (
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"),
        *("te", "trailer", "transfer-encoding", "upgrade"),
    )
)
_NOT_PASSED_ON = _OF_CONNECTION | {"host", "content-length", "expect"}
# A machine that is gone closes no connection: ten seconds without an answer to a probe end it.
_PROBES = ((socket.TCP_KEEPIDLE, 5), (socket.TCP_KEEPINTVL, 2), (socket.TCP_KEEPCNT, 3))


class HubRequest:
    """A request of ``environ`` to the hub at ``address``; OSError and HTTPException where that fails.

    ``more`` are headers of the web process itself.
    """

    def __init__(
        self,
        address: str,
        key: str,
        environ: dict[str, Any],
        more: Mapping[str, str] = MappingProxyType({}),
        timeout_s: float | None = None,
    ) -> None:
        hub = urlsplit(address)
        kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        self._connection = kinds[hub.scheme](hub.hostname or "", hub.port, timeout=CONNECT_S)
        self._prefix = hub.path.rstrip("/")
        self._connection.connect()
        self.sock: socket.socket = self._connection.sock
        self.sock.settimeout(timeout_s)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _PROBES:
            with suppress(OSError):  # a socket of another kind
                self.sock.setsockopt(socket.IPPROTO_TCP, option, value)
        self._environ = environ
        self._more = {**more, vouching.HEADER: vouching.vouch(key, environ)}
        self._answer: http.client.HTTPResponse | None = None

    def send(
        self, method: str, target: str, body: Iterator[bytes] | None = None, length: int | None = None
    ) -> None:
        """Send it; a ``body`` without a length goes in chunks."""
        connection = self._connection
        connection.putrequest(method, self._prefix + target, skip_accept_encoding=True)
        for name, value in passed_on(headers_of(self._environ)):
            if name not in self._more:
                connection.putheader(name, value)
        for name, value in self._more.items():
            connection.putheader(name, value)
        connection.putheader("Connection", "close")
        if length is not None:
            connection.putheader("Content-Length", str(length))
        elif body is not None:
            connection.putheader("Transfer-Encoding", "chunked")
        try:
            # Where the hub refuses it before all was sent, its answer says why.
            connection.endheaders(body, encode_chunked=length is None)
        except (BrokenPipeError, ConnectionResetError):
            if body is None:
                raise

    def answer(self) -> http.client.HTTPResponse:
        """The head of the answer, once it has come."""
        self._answer = self._connection.getresponse()
        return self._answer

    def pieces(self) -> Iterator[bytes]:
        """The body of the answer as it comes; raises where the hub ends it before its end."""
        assert self._answer is not None  # noqa: S101 - it is called after ``answer``
        while piece := self._answer.read1(_PIECE_BYTES):
            yield piece
        if self._answer.length:
            raise ConnectionError("the answer of the hub has ended early")

    def close(self) -> None:
        """End it, at the hub too."""
        if self._answer is not None:
            self._answer.close()
        self._connection.close()


def target_of(environ: Mapping[str, Any]) -> str:
    """The path and query of a request, as they are sent."""
    path = quote(str(environ.get("PATH_INFO", "/")).encode("latin-1"), safe=_IN_PATH)
    query = quote(str(environ.get("QUERY_STRING", "")).encode("latin-1", "replace"), safe=_IN_QUERY)
    return f"{path}?{query}" if query else path


def headers_of(environ: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The headers of a request."""
    for name, value in environ.items():
        if name.startswith("HTTP_"):
            yield name.removeprefix("HTTP_").replace("_", "-").title(), value
    if environ.get("CONTENT_TYPE"):
        yield "Content-Type", environ["CONTENT_TYPE"]


def passed_on(headers: Iterator[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The headers but for those of one connection alone, and those that are made anew."""
    found = list(headers)
    of_connection = (value for name, value in found if name.lower() == "connection")
    named = {part.strip().lower() for value in of_connection for part in value.split(",")}
    for name, value in found:
        if name.lower() not in _NOT_PASSED_ON | named:
            yield name, value


def body_of(environ: Mapping[str, Any]) -> tuple[Iterator[bytes] | None, int | None]:
    """The body of a request in pieces, and its length; None for a length that is not known, or no body."""
    if environ.get("wsgi.input_terminated"):
        return _pieces(environ["wsgi.input"], None), None
    text = environ.get("CONTENT_LENGTH") or ""
    if not text.isdecimal():
        return None, None
    return (_pieces(environ["wsgi.input"], int(text)) if int(text) else None), int(text)


def _pieces(stream: Any, length: int | None) -> Iterator[bytes]:
    left = length
    while left is None or left > 0:
        piece: bytes = stream.read(_PIECE_BYTES if left is None else min(left, _PIECE_BYTES))
        if not piece:
            break
        left = None if left is None else left - len(piece)
        yield piece
    if left:
        raise ConnectionAbortedError("the client has left before it had sent all")
