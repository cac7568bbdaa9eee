"""Limits of clients: sessions that never connect, messages without an end, requests that never come."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest
import requests
from flask import Flask

from modelhub import request_body
from modelhub.connections import Connections
from modelhub.request_body import Body
from modelhub.web.current import registry_of
from modelhub.web.limits import MAX_PACKET_BYTES, MOST_SUBSCRIPTIONS
from modelhub.web.pace import Pace
from modelhub.web.saying import Saying
from modelhub.web.turns import MOST_WAITING, Turns
from tests.support.flooding import frame
from tests.support.ids import LLAMA
from tests.support.many import make_many
from tests.support.rawsocket import RawWatcher
from tests.support.server import Server


def connection(server: Server, data: bytes = b"") -> socket.socket:
    """A connection over which something was sent."""
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=15)
    sock.sendall(data)
    return sock


def handshake(server: Server, sid: str = "") -> bytes:
    """The request for a WebSocket."""
    return (
        f"GET /socket.io/?EIO=4&transport=websocket{sid and '&sid=' + sid} HTTP/1.1\r\n"
        f"Host: 127.0.0.1:{server.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n\r\n"
    ).encode()


def open_session(server: Server) -> str:
    """A session by polling; returns its id."""
    return str(json.loads(server.get("/socket.io/?EIO=4&transport=polling").text[1:])["sid"])


def test_who_sends_no_request_and_who_never_connects_is_soon_gone(server: Server) -> None:
    """Six kinds of them at once; a connection that waits for its second request stays."""
    head = f"GET /livez HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n".encode()
    with ExitStack() as stack:
        began = time.monotonic()
        silent = [
            stack.enter_context(closing(connection(server, data)))
            for data in (b"", b"G", head, head + b"X: y\r\n", handshake(server))
        ]
        slow = stack.enter_context(closing(connection(server, head)))
        kept = stack.enter_context(requests.Session())
        sid = open_session(server)
        ended = threading.Event()

        def send_slowly() -> None:
            while not ended.wait(0.5):
                try:
                    slow.sendall(b"X: y\r\n")
                except OSError:
                    return

        sending = threading.Thread(target=send_slowly)
        sending.start()
        assert kept.get(f"{server.url}/livez", timeout=30).ok
        for sock in [*silent, slow]:
            try:
                while sock.recv(4096):
                    pass
            except ConnectionResetError:
                pass
        ended.set()
        sending.join()
        assert time.monotonic() - began < 14
        assert kept.get(f"{server.url}/livez", timeout=30).ok
        polled = server.get(f"/socket.io/?EIO=4&transport=polling&sid={sid}")
        assert polled.status_code == 400, "the session is gone"


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a connection."""
    near, far = socket.socketpair()
    with near, far:
        yield near, far


class Input:
    """What eventlet's input of a request has, as far as it is used here."""

    def __init__(self, sock: socket.socket) -> None:
        self.chunked_input = False
        self._file = sock.makefile("rb", 0)

    def read(self, size: int) -> bytes:
        """Data."""
        return self._file.read(size) or b""


def test_a_body_that_makes_no_progress_ends(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_body, "PATIENCE_S", 0.05)
    near, far = pair
    connections = Connections(100)
    connections.opened(near)
    body = Body(Input(near), connections, near, 100)
    far.sendall(b"abc")
    assert body.read(100) == b"abc"
    assert body.read(100) == b""
    far.sendall(b"late")
    assert body.read(100) == b"", "what comes late is no part of it"


def test_a_body_that_comes_too_slowly_is_cut(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    connections = Connections(100)
    connections.opened(near)
    connections.sends_body(near, time.monotonic() + 60)
    connections.close_late()
    connections.sends_body(near, time.monotonic() - 0.01)
    connections.close_late()
    far.settimeout(5)
    assert far.recv(1) == b""


def test_an_address_may_not_take_all_connections() -> None:
    with ExitStack() as stack:
        connections = Connections(16)
        pairs = [socket.socketpair() for _ in range(connections.most_of_address)]
        for near, far in pairs:
            stack.enter_context(near)
            stack.enter_context(far)
            assert connections.has_room_for("10.0.0.1")
            connections.opened(near, "10.0.0.1")
        assert connections.has_room_for("10.0.0.2")
        assert connections.has_room_for("10.0.0.1"), "the one that has waited longest leaves"
        pairs[0][1].settimeout(5)
        assert pairs[0][1].recv(1) == b""
        for near, _ in pairs:
            connections.is_served(near)
        assert not connections.has_room_for("10.0.0.1")
        assert connections.has_room_for("10.0.0.2")


def test_of_two_that_race_to_upgrade_a_session_the_second_is_refused(server: Server) -> None:
    sid = open_session(server)
    url = f"{server.url}/socket.io/?EIO=4&transport=polling&sid={sid}"
    assert requests.post(url, data="40", timeout=30).ok
    with closing(connection(server, handshake(server, sid))) as first:
        assert first.recv(4096).startswith(b"HTTP/1.1 101 ")
        with closing(connection(server, handshake(server, sid))) as second:
            assert second.recv(4096).startswith(b"HTTP/1.1 400 ")
        first.sendall(frame(0x81, b"2probe"))
        assert b"3probe" in first.recv(4096)
        requests.get(url, timeout=30)  # the poll that ends
        first.sendall(frame(0x81, b"5") + frame(0x81, f'420["subscribe",{{"id":"{LLAMA}"}}]'.encode()))
        found = b""
        while b"430[" not in found:
            found += first.recv(65536)


@pytest.mark.parametrize(
    "frames",
    [
        frame(0x81, b"4" + b"x" * MAX_PACKET_BYTES),
        frame(0x01, b"4") + frame(0, b"") * 4000,
        frame(0x01, b"4") + frame(0, b"x" * 1000) * 40,
        frame(0xC1, b"4"),
        frame(0x82, b"\x04") * 3,
        frame(0x81, b"451-[]") * 3,
    ],
    ids=["large", "empty fragments", "fragments", "compressed", "binary", "attachments"],
)
def test_a_message_that_grows_or_cannot_be_ends_the_connection(server: Server, frames: bytes) -> None:
    watcher = RawWatcher(server.port)
    with suppress(OSError):  # it may end while it is sent
        watcher.sock.sendall(frames)
    assert watcher.ended(5)
    watcher.close()


def test_a_client_may_subscribe_to_many_models_and_not_to_any_number(app: Flask, tmp_path: Path) -> None:
    make_many(tmp_path / "models", MOST_SUBSCRIPTIONS + 1)
    client = app.extensions["socketio"].test_client(app)  # no transport is needed for this
    entries = registry_of(app).catalogue.entries()
    ids = [name for name, entry in entries.items() if entry.source == "folder"]
    answers = [client.emit("subscribe", {"id": name}, callback=True) for name in ids]
    assert [answer["ok"] for answer in answers] == [True] * MOST_SUBSCRIPTIONS + [False]
    assert answers[-1]["error"]["code"] == "invalid_request"
    assert client.emit("unsubscribe", {"id": ids[0]}, callback=True)["ok"]
    assert client.emit("subscribe", {"id": ids[-1]}, callback=True)["ok"]


def test_a_pace_asks_to_wait_once_the_burst_is_spent() -> None:
    now = [0.0]
    pace = Pace(rate=10.0, burst=5.0, clock=lambda: now[0])
    assert [pace.take(1) for _ in range(5)] == [0.0] * 5
    assert pace.take(1) == pytest.approx(0.1)
    assert pace.take(2) == pytest.approx(0.3)
    assert pace.waited_s == pytest.approx(0.4)
    now[0] = 0.4
    assert not pace.is_full()
    now[0] = 10.0
    assert pace.is_full()
    assert (pace.waited_s, pace.take(1)) == (0.0, 0.0)


def test_a_warning_is_one_line_a_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    saying = Saying()
    for _ in range(50):
        saying.say("A client did it: %d.", 3)
    now[0] += 61
    saying.say("A client did it: %d.", 4)
    assert [record.getMessage() for record in caplog.records] == [
        "A client did it: 3.",
        "A client did it: 4. So it was 49 times since the last such line.",
    ]


def test_addresses_take_turns() -> None:
    turns = Turns()
    assert turns.take("10.0.0.1")
    order: list[str] = []
    lock = threading.Lock()
    turns._giving = True  # nobody gives turns yet

    def wait(address: str) -> None:
        assert turns.take(address)
        with lock:
            order.append(address)

    threads = [threading.Thread(target=wait, args=("many",)) for _ in range(20)]
    threads += [threading.Thread(target=wait, args=("one",))]
    for number, thread in enumerate(threads, 1):
        thread.start()
        while sum(map(len, turns._waiting.values())) < number:
            time.sleep(0.001)
    turns._give()
    for thread in threads:
        thread.join(10)
    assert "one" in order[:4], order
    assert len(order) == 21


def test_too_many_that_wait_are_not_served() -> None:
    turns = Turns()
    turns._giving = True
    turns._waiting["10.0.0.1"] = deque(threading.Event() for _ in range(MOST_WAITING))
    assert not turns.take("10.0.0.1")
