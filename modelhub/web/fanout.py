"""Fan-out: an event is encoded once for all clients of its rooms and written to every ready WebSocket.

The seams: a client manager (``SocketIO(client_manager=...)``), and engineio's hooks for the queue and the
WebSocket of its async mode. What this relies on behind them is checked at the start and at each connection;
where it is not as expected, python-socketio's own emit does the work.
"""

from __future__ import annotations

import logging
import queue
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engineio.packet import MESSAGE, NOOP, Packet
from engineio.socket import Socket as Client
from socketio import Manager
from socketio.packet import EVENT

from modelhub.states import EventName

log = logging.getLogger(__name__)
MAX_WAITING = 256  # packets; a load has about 25 that may not be left out
MAX_AT_ONCE = 16  # packets in the response to a poll: Python's client gives up on a larger one
# Small, so that a slow reader gets the newest state next, not a backlog from the kernel's buffer.
_UNSENT_BYTES = 16 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Drops:
    """What clients were not sent: progress that newer has replaced, and all that waited for those dropped."""

    superseded: int = 0
    unread: int = 0
    clients: int = 0


class Fanout(Manager):
    """Emits by fan-out; in threading mode, or over libraries not as expected, as python-socketio does.

    python-socketio wakes a writer per client and frames the event for each. Here a client that has nothing
    waiting gets the shared frame at once, from the thread that emits. A client that is busy, polls or
    upgrades gets it through its own queue, in which waiting progress is replaced by newer progress of the
    same step; a client whose queue grows past a bound is dropped.
    """

    def __init__(self) -> None:
        super().__init__()
        self.active = False
        self.drops = Drops()
        # Of each model that loads, and kind of payload: the step emitted last.
        self._steps: dict[tuple[str, bool, bool], tuple[Any, Any]] = {}

    def set_server(self, server: Any) -> None:
        """Called by python-socketio with its server, before the first connection: install the hooks."""
        super().set_server(server)
        if server.eio.async_mode == "threading":
            return  # many threads write to a client there
        try:
            hooks = _checked_hooks(server)
        except Exception as error:
            log.warning(
                "Events go through python-socketio's own emit; the libraries are not as expected: %s",
                error,
            )
            return
        own_queue, own_websocket = hooks["queue"], hooks["websocket"]

        def outbox(*args: Any, **kwargs: Any) -> Outbox:
            return Outbox(own_queue(*args, **kwargs), self.drops)

        def websocket(handler: Callable[[Any], Any], eio: Any) -> Callable[..., Any]:
            return _without_compression(own_websocket(_with_writer(handler), eio))

        server.eio._async = {**hooks, "queue": outbox, "websocket": websocket}
        self.active = True

    def pre_connect(self, eio_sid: str, namespace: str) -> Any:
        """A client has sent CONNECT: from now on its queue may drop it."""
        client = self.server.eio.sockets.get(eio_sid)
        if self.active and client is not None:
            client.queue.client = client
        return super().pre_connect(eio_sid, namespace)

    def emit(self, event: str, data: Any, namespace: str, room: Any = None, **options: Any) -> None:
        """Send ``event`` to all clients in the rooms; other than of a model, as python-socketio does."""
        special = options.get("callback") or options.get("skip_sid")
        if not self.active or special or not isinstance(data, dict) or "seq" not in data:
            super().emit(event, data, namespace, room, **options)
            return
        encoded = self.server.packet_class(EVENT, namespace=namespace, data=[event, data]).encode()
        packet = _SharedPacket(encoded, self._supersedes(event, data))
        clients = self.server.eio.sockets
        for _, eio_sid in self.get_participants(namespace, options.get("to") or room):
            client = clients.get(eio_sid)
            if client is None or client.closed:
                continue
            if not (client.upgraded and client.queue.write_now(packet.frame)):
                self.server.eio.send_packet(eio_sid, packet)

    def _supersedes(self, event: str, data: dict[str, Any]) -> tuple[Any, Any] | None:
        """What this event makes out of date: earlier progress in the same step, or use, but for the first."""
        # Each event is emitted as it is, with words, and with words and charts.
        kind = (str(data.get("id")), "words" in data, "charts" in data)
        if event not in (EventName.PROGRESS, EventName.IN_USE):
            self._steps.pop(kind, None)
            return None
        step = (data.get("load_id"), data.get("step") if event == EventName.PROGRESS else event)
        before, self._steps[kind] = self._steps.get(kind), step
        return step if step == before else None


class _SharedPacket(Packet):
    """An event's packet for all its clients; ``supersedes`` is None where it may not be left out."""

    def __init__(self, encoded: str, supersedes: tuple[Any, Any] | None) -> None:
        super().__init__(MESSAGE, encoded)
        self.supersedes = supersedes
        self.frame = text_frame(self.encode())


class Outbox:
    """A client's queue: engineio's own, and the knowledge when it is safe to write past it.

    Green threads switch only where one of them waits, so what is checked here holds until it is used.
    """

    def __init__(self, own: Any, drops: Drops) -> None:
        self._own = own
        self._drops = drops
        self._waiting: deque[Any] = own.queue
        self._all_sent = False  # the writer has sent all that it took from the queue, and waits for more
        self._taken = 0  # since it last waited
        self.writer: SocketWriter | None = None
        self.client: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the next packet; the writer waits here only once it has sent all that it took before.

        Without ``block`` raises queue.Empty, also where it has taken as many as it may send at once.
        """
        self._taken = 1 if block else self._taken + 1
        if self._taken > MAX_AT_ONCE:
            raise queue.Empty
        self._all_sent = block
        try:
            return self._own.get(block, timeout)
        finally:
            self._all_sent = False

    def put(self, packet: Any, *args: Any, **kwargs: Any) -> None:
        """Add a packet; remove waiting progress that it makes out of date."""
        superseded = getattr(packet, "supersedes", None)
        old = None
        if superseded is not None:
            old = next((p for p in self._waiting if getattr(p, "supersedes", None) == superseded), None)
        self._own.put(packet, *args, **kwargs)
        if old is not None:
            self._waiting.remove(old)
            self._own.task_done()
            self._drops.superseded += 1
        if len(self._waiting) > MAX_WAITING and self.client is not None:
            self._drop(self.client)

    def write_now(self, frame: bytes) -> bool:
        """Write a frame past the queue, if all before it is sent; returns whether it is on its way."""
        writer = self.writer
        if writer is None or self._waiting or not self._all_sent or not writer.write(frame):
            return False
        if writer.rest:
            self.put(Packet(NOOP))  # makes engineio's writer send the rest of the frame, then this
        return True

    def _drop(self, client: Any) -> None:
        log.warning("A client was dropped: %d packets waited for it.", len(self._waiting))
        self.client = None
        self._drops.clients += 1
        self._drops.unread += len(self._waiting)
        self._waiting.clear()
        if self.writer is not None:
            self.writer.reset()
        client.close(wait=False, abort=True, reason=client.server.reason.TRANSPORT_ERROR)


class SocketWriter:
    """Wraps a WebSocket's green socket, through which all its frames go, each in one ``sendall``."""

    def __init__(self, green: Any) -> None:
        self._green = green
        self._raw_send: Callable[[bytes], int] = green.fd.send
        self._sending = False
        self.rest = b""  # of a frame that is sent in part

    def __getattr__(self, name: str) -> Any:
        return getattr(self._green, name)

    def sendall(self, data: bytes, *args: Any) -> None:
        """Send the rest of a frame that is sent in part, then ``data``; the green thread may wait."""
        self._sending = True
        try:
            rest, self.rest = self.rest, b""
            self._green.sendall(rest + data, *args)
        finally:
            self._sending = False

    def write(self, frame: bytes) -> bool:
        """Write a frame without waiting; returns False where nothing of it could be sent."""
        if self._sending or self.rest:
            return False
        try:
            sent = self._raw_send(frame)
        except OSError:
            return False  # full or closed: the queue's own writer finds out which
        if sent < len(frame):
            self.rest = frame[sent:]
        return True

    def reset(self) -> None:
        """End the connection and drop what the kernel holds for it; wakes a writer that waits at it."""
        try:
            self._green.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._green.shutdown(socket.SHUT_RDWR)
        except OSError as error:
            log.debug("The connection had ended: %s", error)


def limit_unsent(raw: socket.socket) -> None:
    """Let the kernel hold little that is not sent yet."""
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)


def text_frame(text: str) -> bytes:
    """A WebSocket text frame as servers send them: final, not masked, not compressed (RFC 6455, 5.2)."""
    data = text.encode()
    size = len(data)
    if size < 126:
        head = bytes((0x81, size))
    else:
        head = struct.pack("!BBH", 0x81, 126, size) if size < 65536 else struct.pack("!BBQ", 0x81, 127, size)
    return head + data


def _with_writer(handler: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The handler of a client's WebSocket, with its socket in a SocketWriter where that is possible."""

    def handle(ws: Any) -> Any:
        try:
            outbox: Any = handler.__self__.queue  # type: ignore[attr-defined]
            raw = ws.socket.fd
            # An old version has other frames; a blocking socket would block all clients.
            if ws.version not in (8, 13) or raw.gettimeout() != 0:
                raise LookupError(f"version {ws.version}, time-out {raw.gettimeout()}")
            limit_unsent(raw)
            ws.socket = outbox.writer = SocketWriter(ws.socket)
        except Exception as error:
            log.warning("A WebSocket gets events through its queue; its socket is not as expected: %s", error)
        return handler(ws)

    return handle


def _without_compression(application: Callable[..., Any]) -> Callable[..., Any]:
    """No permessage-deflate: it takes 90 kB a client and compresses the same event for each of them."""

    def handshake(environ: dict[str, Any], start_response: Any) -> Any:
        environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)
        return application(environ, start_response)

    return handshake


def _checked_hooks(server: Any) -> dict[str, Any]:
    """engineio's hooks; raises LookupError or another error if they do not do what is expected here."""
    hooks: dict[str, Any] = server.eio._async
    trial, first, second = hooks["queue"](), Packet(MESSAGE, "1"), Packet(MESSAGE, "2")
    trial.put(first)
    trial.put(second)
    trial.queue.remove(first)
    trial.task_done()
    taken = trial.get(True, 1)
    trial.task_done()
    empty = server.eio.get_queue_empty_exception()
    checks = {
        "the queue": isinstance(trial.queue, deque) and taken is second and not trial.queue,
        "the end of the queue": issubclass(queue.Empty, empty),
        "the packets": first.encode() == "41" and Packet(NOOP).encode() == "6",
        "the writer": {"get", "queue", "task_done"} <= set(Client.poll.__code__.co_names),
        "the WebSocket hook": callable(hooks["websocket"]) and callable(Client._websocket_handler),
        "the clients": isinstance(server.eio.sockets, dict) and callable(server.eio.send_packet),
    }
    wrong = [name for name, right in checks.items() if not right]
    if wrong:
        raise LookupError(", ".join(wrong))
    return hooks
