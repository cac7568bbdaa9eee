"""Connections: which of them leave for a new one, and what an error of accept() does."""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack
from typing import Any

import pytest

from modelhub import connections
from modelhub.connections import Connections, Listener


class Failing:
    """A listening socket whose ``accept`` fails as told, and then works."""

    def __init__(self, sock: socket.socket, errors: list[int]) -> None:
        self.sock = sock
        self.errors = errors

    def accept(self) -> Any:
        if self.errors:
            raise OSError(self.errors.pop(0), "told so")
        return self.sock.accept()


@pytest.mark.parametrize("code", [errno.ECONNABORTED, errno.EMFILE, errno.ENFILE, errno.EPROTO, errno.EPIPE])
def test_an_error_of_accept_is_survived(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux raises most of them rarely: the socket stands in for it."""
    monkeypatch.setattr(connections, "_PAUSE_S", 0.001)
    with (
        socket.create_server(("127.0.0.1", 0)) as sock,
        socket.create_connection(sock.getsockname()) as client,
    ):
        listener: Any = Failing(sock, [code] * 3)
        accepted, address = Listener(listener, Connections(100)).accept()
        with accepted:
            assert address == client.getsockname()


def test_a_closed_listener_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        listener = Listener(sock, Connections(100))
    with pytest.raises(OSError, match="Bad file descriptor"):
        listener.accept()


def test_many_refused_connections_are_one_line(caplog: pytest.LogCaptureFixture, monkeypatch: Any) -> None:
    monkeypatch.setattr(connections, "_PAUSE_S", 0.001)
    many = Connections(100)
    for _ in range(50):
        many.refused(OSError(errno.EMFILE, "Too many open files"))
    assert [record.getMessage() for record in caplog.records] == [
        "A connection could not be accepted (Too many open files): "
        "new ones take the place of those that have waited longest."
    ]


def test_the_connection_that_has_waited_longest_leaves_and_none_that_is_served() -> None:
    with ExitStack() as stack:
        few = Connections(8)
        assert few.most == 4
        pairs = [socket.socketpair() for _ in range(4)]
        for near, far in pairs:
            stack.enter_context(near)
            stack.enter_context(far)
            far.settimeout(5)
            few.opened(near)
        (served, _), (again, _), (_, longest), (_, newer) = pairs
        few.is_served(served)
        few.is_served(again)
        few.waits(again)  # its request was responded to
        few.close_longest()
        assert longest.recv(1) == b""  # closed
        newer.setblocking(False)
        with pytest.raises(BlockingIOError):
            newer.recv(1)


@pytest.mark.parametrize(("handles", "most"), [(64, 32), (1024, 768), (2**20, 10_000)])
def test_handles_are_left_for_loads(handles: int, most: int) -> None:
    assert Connections(handles).most == most
