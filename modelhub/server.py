"""The server: ``modelhub serve``, ``modelhub web`` and ``python wsgi.py`` run it; it alone names eventlet.

Importing it patches the standard library, so import it before anything else.
"""

from __future__ import annotations

import os
import warnings

# Nothing here asks a name server. The library for that imports what it finds installed, such as httpx, whose
# locks then cannot be patched any more: eventlet prints a traceback.
os.environ.setdefault("EVENTLET_NO_GREENDNS", "yes")
with warnings.catch_warnings():
    # eventlet warns that it is in bug-fix mode; that is known, and why no other module names it.
    warnings.simplefilter("ignore")
    import eventlet

    eventlet.monkey_patch()

import errno
import functools
import gc
import logging
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import eventlet.wsgi
from flask import Flask

from modelhub import create_app, create_web_app
from modelhub.config import Settings, connectable, read_settings
from modelhub.connections import Connections, Listener
from modelhub.errors import ModelhubError
from modelhub.handles import raise_limit
from modelhub.hosts import is_loopback
from modelhub.json_log import NAME as JSON
from modelhub.json_log import JsonFormatter
from modelhub.plain_log import PlainFormatter
from modelhub.port_owner import port_owner
from modelhub.request_body import Body
from modelhub.web.current import reading_of
from modelhub.web.streams import CHUNKS_TO
from modelhub.web.turns import TURN, Turns

_BACKLOG = 1024  # connections that come at once: one more is a second late
_RECENT_S = 1.0
_LENGTH = re.compile(r"[0-9]{1,15}")
_STUCK_S = 60.0  # until a client is given up that reads nothing of what it is sent


class Protocol(eventlet.wsgi.HttpProtocol):
    """One connection: says what it waits for, and which socket a response in chunks goes to."""

    def __init__(self, connections: Connections, turns: Turns, *connection: Any) -> None:
        """Serve a connection until it ends."""
        (address, sock, _), _ = connection
        self._connections = connections
        self._turns = turns
        self._address = address[0]
        self._turn_at = -_RECENT_S
        try:
            super().__init__(*connection)
        finally:
            connections.closed(sock)

    def _turn(self) -> bool:
        """Wait until it is served; connections that have just been served take turns with the others."""
        is_again = time.monotonic() - self._turn_at < _RECENT_S
        may_go = self._turns.take(f"{self._address} again" if is_again else self._address)
        self._turn_at = time.monotonic()
        return may_go

    def handle_one_request(self) -> None:
        """Wait for a request, and respond to it."""
        self._connections.waits(self.connection)
        super().handle_one_request()

    def _read_request_line(self) -> Any:
        """The first line of a request, once it is its turn; nothing ends the connection."""
        line = super()._read_request_line()
        if not line or not self._turn():
            return b""
        self._connections.sends_headers(self.connection)
        return line

    def parse_request(self) -> bool:
        """Read the headers; refuses a body whose end a proxy could see elsewhere, and with it a request."""
        if not super().parse_request():
            return False
        lengths = self.headers.get_all("Content-Length", [])
        encodings = self.headers.get_all("Transfer-Encoding", [])
        is_plain = encodings in ([], ["chunked"]) and all(map(_LENGTH.fullmatch, lengths))
        if is_plain and len(lengths) + len(encodings) <= 1:
            return True
        self.close_connection = True
        self.send_error(400)
        return False

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what a client can cause as often as it likes is no line of the log."""

    def get_environ(self) -> dict[str, Any]:
        """The environment of the current request, whose headers have come."""
        self._connections.is_served(self.connection)
        environ: dict[str, Any] = super().get_environ()
        if self.request_version == "HTTP/1.1":
            environ[CHUNKS_TO] = self.connection
        environ[TURN] = self._turn
        own = environ["eventlet.input"]
        body = Body(own, self._connections, self.connection, int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = body
        environ["wsgi.input_terminated"] = own.chunked_input  # it ends where the chunks do
        own.discard = functools.partial(self._discard, body)
        return environ

    def _discard(self, body: Body) -> None:
        """Read what the application has not read of a body; serve nothing more where that has no end."""
        self.close_connection = not body.discard()


def create(new_app: Callable[[Mapping[str, Any]], Flask] = create_app) -> Flask:
    """Create the application without starting anything; exit with a message if a setting cannot be used."""
    handler = logging.StreamHandler()
    handler.setFormatter(PlainFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    try:
        if read_settings().log == JSON:
            handler.setFormatter(JsonFormatter())
            logging.captureWarnings(True)
        app = new_app({"ASYNC_MODE": "eventlet"})
        reading_of(app).settings.check_access()
        if new_app is create_app:
            reading_of(app).settings.check_machine()
    except ModelhubError as error:
        _exit(error)
    return app


def start() -> Flask:
    """Create the application and start its processes, for another WSGI server; exits as ``create`` does."""
    app = create()
    _start_processes(app)
    return app


def serve(app: Flask, shares_port: bool = False) -> None:
    """Serve until SIGTERM or Ctrl-C, then end every process; exit with a message if the port is taken.

    Where it ``shares_port``, others that do listen there too, and the kernel gives each a part of clients.
    """
    registry = reading_of(app)
    host, port = registry.settings.host, registry.settings.port
    connections = Connections(raise_limit())
    stopped = _catch_signals()
    # Before the processes: a server that cannot listen starts none. Requests wait until it serves.
    listener = _listen(host, port, shares_port)
    _start_processes(app)
    # What the start has made stays. Without this a full collection looks at all of it, and blocks for 50 ms.
    gc.collect()
    gc.freeze()
    _say_where(registry.settings)
    try:
        # Small chunks are sent at once (server-sent events); each watcher holds a connection of its own.
        options = {
            "log_output": False,
            "debug": False,  # else a client is sent the traceback where an error escapes the application
            "minimum_chunk_size": 1,
            "max_size": connections.most,
            "protocol": functools.partial(Protocol, connections, Turns()),
            "socket_timeout": _STUCK_S,
        }
        eventlet.spawn(_close_late, connections)
        # In a green thread of its own, since it would wait for every open tab before it ends.
        server = eventlet.spawn(eventlet.wsgi.server, Listener(listener, connections), app, **options)
        server.link(lambda _: signal.raise_signal(signal.SIGTERM))
        stopped.recv(1)
        if server.dead:
            server.wait()  # raises what ended it
    finally:
        registry.close()


def _say_where(settings: Settings) -> None:
    log = logging.getLogger("modelhub")
    address = f"[{settings.host}]" if ":" in settings.host else settings.host
    log.info("Listening at http://%s:%s", address, settings.port)
    url = f"http://{connectable(settings.host)}:{settings.port}"
    if settings.read_tokens().full:
        log.info("Open %s: it asks for the token.", url)
    elif not is_loopback(settings.host):
        error = ModelhubError("insecure")
        log.warning("%s %s", error.message, error.hint)


def _close_late(connections: Connections) -> None:
    while True:
        eventlet.sleep(1)
        connections.close_late()


def _start_processes(app: Flask) -> None:
    try:
        reading_of(app).start()
    except ModelhubError as error:
        _exit(error)


def _listen(host: str, port: int, shares_port: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # With SO_REUSEPORT, eventlet's default, two servers would share the port and its connections.
        listener: socket.socket = eventlet.listen((host, port), family, _BACKLOG, reuse_port=shares_port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            _exit(ModelhubError("port_taken", port=port, owner=port_owner(host, port)))
        sys.exit(f"modelhub cannot listen at {host}:{port}: {error.strerror}.")
    # Inherited by every connection: an event that waits for the reader's delayed ACK is 40 ms late.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _exit(error: ModelhubError) -> NoReturn:
    sys.exit(f"modelhub cannot start: {error.message} {error.hint}")


def _catch_signals() -> socket.socket:
    """A socket that can be read once SIGTERM or SIGINT has come.

    An exception raised by the handler would end whichever green thread happens to run, not the server.
    """
    stopped, wakeup = socket.socketpair()
    wakeup.setblocking(False)
    signal.set_wakeup_fd(wakeup.detach(), warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    return stopped


if __name__ == "__main__":
    if sys.argv[1:] == ["web"]:
        serve(create(create_web_app), shares_port=True)
    else:
        serve(create())
