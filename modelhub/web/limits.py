"""Limits of each Socket.IO client: packets, bytes, processor time, what is malformed, sessions never used.

A client that sends too much is slowed: its next packet is not read yet. Where that goes on, it is
disconnected, with one line of the log. Limits of an address are loose, since behind a proxy all have one.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs

from engineio import packet
from engineio.payload import Payload

from modelhub.web.library_log import is_ours
from modelhub.web.pace import Pace
from modelhub.web.saying import Saying
from modelhub.web.turns import TURN

log = logging.getLogger(__name__)
MAX_PACKET_BYTES = 4096  # what a client may send in one packet; it subscribes, and no more
MOST_MALFORMED = 3
MOST_SUBSCRIPTIONS = 200
_PACKETS = (30.0, 200.0)  # a second, and at once
_BYTES = (8 * 1024.0, 64 * 1024.0)
_READ_COSTS = 16  # bytes: what an empty piece counts
_YIELD_BYTES = 4096
_SHARE = 4  # a client pauses so many times as long as its packet took
_LONGEST_PAUSE_S = 1.0
_PATIENCE_S = 5.0  # how long a client is slowed before it is disconnected
_MOST_UNREAD = 64  # packets to a client that wait, before its next one is handled
_READ_PATIENCE_S = 5.0
_CONNECT_S = 5.0  # until a session is connected
_MOST_SESSIONS = 5000
_SESSIONS = (100.0, 1000.0)  # of one address, a second and at once
_FROM_CLIENT = (packet.PONG, packet.MESSAGE, packet.CLOSE)

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


class Limited:
    """One client, from its handshake to its end."""

    def __init__(self, limits: Limits, sid: str, environ: dict[str, Any]) -> None:
        self.sid = sid
        self.address = str(environ.get("REMOTE_ADDR", ""))
        self.began = time.monotonic()
        self.is_gone = False
        self._limits = limits
        self._turn = environ.get(TURN)
        self._packets, self._bytes = Pace(*_PACKETS), Pace(*_BYTES)
        self._malformed = 0
        self._unread_bytes = 0  # of the message that is being read
        self._since_yield = 0

    def take_packet(self) -> bool:
        """Wait until its next packet may be handled; False once it is gone."""
        if not self.is_gone and not self._slow(self._packets, 1.0):
            if self._turn is None:
                time.sleep(0)
            else:
                self._turn()
        return not self.is_gone

    def take_bytes(self, count: int) -> bool:
        """Wait until more may be read after a piece of so many bytes; False once it is gone."""
        self._unread_bytes += count + _READ_COSTS
        self._since_yield += count + _READ_COSTS
        if self._unread_bytes > 2 * MAX_PACKET_BYTES + 64 * _READ_COSTS:
            self.end("its message was larger than %d bytes", MAX_PACKET_BYTES)
        elif not self._slow(self._bytes, count + _READ_COSTS) and self._since_yield > _YIELD_BYTES:
            self._since_yield = 0
            time.sleep(0)
        return not self.is_gone

    def begin_message(self) -> None:
        """The message before was read."""
        self._unread_bytes = 0

    def handled(self, seconds: float) -> None:
        """Its packet took so many seconds: it pauses for some time."""
        if seconds > 0.001:
            time.sleep(min(_SHARE * seconds, _LONGEST_PAUSE_S))

    def malformed(self) -> None:
        """It has sent what cannot be read."""
        self._malformed += 1
        if self._malformed >= MOST_MALFORMED:
            self.end("%d of its packets could not be read", MOST_MALFORMED)

    def end(self, why: str, *facts: object) -> None:
        """Disconnect it."""
        if not self.is_gone:
            self.is_gone = True
            self._limits.disconnect(self, why, *facts)

    def _slow(self, pace: Pace, cost: float) -> bool:
        """Wait as long as the pace asks for; disconnect where that goes on. Returns whether it has waited."""
        wait_s = pace.take(cost)
        if wait_s <= 0:
            return False
        if pace.waited_s > _PATIENCE_S:
            self.end("it went on to send too much")
            return False
        time.sleep(wait_s)
        return True


class Limits:
    """The limits of all clients of one Socket.IO server; ``clients`` are those of now, by session."""

    def __init__(self, server: Any) -> None:
        self.clients: dict[str, Limited] = {}
        self._server = server
        self._eio = server.eio
        self._upgrading: set[str] = set()
        self._sessions: defaultdict[str, Pace] = defaultdict(lambda: Pace(*_SESSIONS))
        self._saying = defaultdict[str, Saying](Saying)
        self._reaping = False
        self._own = {name: self._eio.handlers[name] for name in ("connect", "message", "disconnect")}
        self._eio.on("connect", self._connect)
        self._eio.on("message", self._message)
        self._eio.on("disconnect", self._disconnect)
        if self._eio.async_mode != "threading":
            hooks = self._eio._async
            self._eio._async = {**hooks, "websocket": self._websocket(hooks["websocket"])}

    # Sessions

    def _connect(self, sid: str, environ: dict[str, Any]) -> Any:
        if not self._reaping:
            self._reaping = True
            self._eio.start_background_task(self._reap)
        client = Limited(self, sid, environ)
        if len(self.clients) >= _MOST_SESSIONS:
            self._saying["sessions"].say("There are %d sessions: more are refused.", _MOST_SESSIONS)
            return False
        self.clients[sid] = client
        time.sleep(min(self._sessions[client.address].take(1.0), _LONGEST_PAUSE_S))
        return self._own["connect"](sid, environ)

    def _disconnect(self, sid: str, reason: str) -> Any:
        self.clients.pop(sid, None)
        return self._own["disconnect"](sid, reason)

    def disconnect(self, client: Limited, why: str, *facts: object) -> None:
        """End a client's session, and say so."""
        self._saying[why].say(f"A client was disconnected: {why}.", *facts)
        self._close(client.sid)

    def _close(self, sid: str) -> None:
        session = self._eio.sockets.get(sid)
        if session is not None:
            session.close(wait=False, abort=True, reason=self._eio.reason.SERVER_DISCONNECT)
            self._eio.sockets.pop(sid, None)
        self.clients.pop(sid, None)

    def _reap(self) -> None:
        """End the sessions that do not connect, again and again."""
        while True:
            self._eio.sleep(1)
            before = time.monotonic() - _CONNECT_S
            for sid, client in list(self.clients.items()):
                if sid not in self._eio.sockets:
                    del self.clients[sid]
                elif client.began < before and self._server.manager.sid_from_eio_sid(sid, "/") is None:
                    self._close(sid)
            for address, pace in list(self._sessions.items()):
                if pace.is_full():
                    del self._sessions[address]

    # Packets

    def _message(self, sid: str, data: Any) -> None:
        """Handle a packet; one that cannot be read counts as malformed."""
        client = self.clients.get(sid)
        if client is None or not client.take_packet() or not self._has_read(client):
            return
        began = time.thread_time()
        try:
            if not isinstance(data, str) or data[:1] not in "0124":
                raise ValueError("no client sends binary packets")
            self._own["message"](sid, data)
        except Exception as error:
            if is_ours(error):
                log.exception("A packet could not be handled")
            client.malformed()
        client.handled(time.thread_time() - began)

    def _has_read(self, client: Limited) -> bool:
        """Wait until it has read what it was sent before; disconnect it where it does not."""
        session = self._eio.sockets.get(client.sid)
        deadline = time.monotonic() + _READ_PATIENCE_S
        while session is not None and not session.closed and session.queue.qsize() > _MOST_UNREAD:
            if time.monotonic() > deadline:
                client.end("it asks, and does not read")
                return False
            time.sleep(0.02)
        return True

    def _check(self, client: Limited, session: Any, message: Any) -> bool:
        """Whether engineio can read a message; else it is counted."""
        try:
            kind = packet.Packet(encoded_packet=message).packet_type
        except Exception:  # whatever its parser raises
            kind = -1
        if kind in _FROM_CLIENT or (session.upgrading and kind in (packet.PING, packet.UPGRADE)):
            return True
        client.malformed()
        return False

    # Transports

    def _websocket(self, own: Callable[..., Any]) -> Callable[..., Wsgi]:
        def websocket(handler: Callable[[Any], Any], eio: Any) -> Wsgi:
            """The WebSocket of a session: one, however many of them race to upgrade it."""
            session: Any = handler.__self__  # type: ignore[attr-defined]
            application: Wsgi = own(_Handler(self, handler), eio)

            def handshake(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
                if session.sid in self._upgrading:
                    start_response("400 Bad Request", [("Connection", "close")])
                    return (b"This session is upgraded already.\n",)  # engineio takes a list for packets
                self._upgrading.add(session.sid)
                try:
                    return application(environ, start_response)
                finally:
                    self._upgrading.discard(session.sid)

            return handshake

        return websocket

    def reading(self, session: Any, own_wait: Callable[[], Any]) -> Callable[[], Any]:
        """What waits for the next message of a WebSocket: for one that can be read; None ends it."""
        client = self.clients.get(session.sid)

        def wait() -> Any:
            while client is not None and not client.is_gone:
                client.begin_message()
                message = own_wait()
                if message is None or self._check(client, session, message):
                    return None if client.is_gone else message
                client.take_packet()
            return None

        return wait

    def polling(self, application: Wsgi) -> Wsgi:
        """WSGI around the Socket.IO server: a body of packets that cannot be read is refused, and counted."""

        def checked(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            is_post = environ["REQUEST_METHOD"] == "POST"
            is_post = is_post and environ.get("PATH_INFO", "").startswith("/socket.io")
            if not is_post:
                return application(environ, start_response)
            client = self.clients.get(_sid(environ))
            if client is None:  # engineio fails at one that has just ended
                start_response("400 Bad Request", [("Content-Type", "text/plain")])
                return [b"There is no such session.\n"]
            length = int(environ.get("CONTENT_LENGTH") or 0)
            body = environ["wsgi.input"].read(length) if length <= MAX_PACKET_BYTES else b""
            try:
                if not body:
                    raise ValueError("too large, or empty")
                packets = Payload(encoded_payload=body.decode()).packets
                # At any other, engineio would wait until the client reads all it was sent, or for ever.
                if any(one.packet_type not in _FROM_CLIENT for one in packets):
                    raise ValueError("an unexpected packet")
            except Exception:
                client.malformed()
                start_response("400 Bad Request", [("Content-Type", "text/plain"), ("Connection", "close")])
                return [b"The packets cannot be read.\n"]
            environ["wsgi.input"] = BytesIO(body)
            return application(environ, start_response)

        return checked


class _Handler:
    """engineio's handler of a WebSocket, which reads it within the limits; Fanout looks at ``__self__``."""

    def __init__(self, limits: Limits, own: Callable[[Any], Any]) -> None:
        self.__self__: Any = own.__self__  # type: ignore[attr-defined]
        self._limits = limits
        self._own = own

    def __call__(self, ws: Any) -> Any:
        client = self._limits.clients.get(self.__self__.sid)
        try:
            if client is not None:
                ws.socket = _LimitedSocket(ws.socket, client)
                ws.wait = self._limits.reading(self.__self__, ws.wait)
        except AttributeError as error:
            log.warning("A WebSocket has limits for its packets only; it is not as expected: %s", error)
        return self._own(ws)


class _LimitedSocket:
    """Wraps the socket of a WebSocket: what is read from it counts."""

    def __init__(self, sock: Any, client: Limited) -> None:
        self._sock = sock
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def recv(self, size: int) -> bytes:
        """Up to ``size`` bytes; none once the client is disconnected."""
        data: bytes = self._sock.recv(size)
        return data if self._client.take_bytes(len(data)) else b""


def _sid(environ: dict[str, Any]) -> str:
    query: str = environ.get("QUERY_STRING", "")
    return parse_qs(query).get("sid", [""])[0]
