"""Streams of server-sent events by many readers, quick and slow: what each receives is whole and in order."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.support.server import Server

MODEL = "demo/random-0.1gb"
PAD = 380


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that reports progress of made-up loads on request."""
    running = Server(tmp_path_factory.mktemp("streams"))
    running.command = ["-m", "tests.support.streaming_server"]
    yield running.start().wait_warm()
    running.get("/livez")
    running.stop()


class Reader:
    """Reads a stream when the test asks for it; ``version`` is that of HTTP, ``buffer`` its SO_RCVBUF."""

    def __init__(self, server: Server, load_id: str, version: str = "1.1", buffer: int | None = None) -> None:
        self._socket = socket.socket()
        if buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self._socket.settimeout(30)
        self._socket.connect(("127.0.0.1", server.port))
        head = f"GET /api/loads/{load_id}/events HTTP/{version}\r\nHost: 127.0.0.1:{server.port}\r\n\r\n"
        self._socket.sendall(head.encode())
        self._file = self._socket.makefile("rb")
        assert b" 200 " in self._file.readline()
        headers = {line.lower() for line in iter(self._file.readline, b"\r\n")}
        self.is_chunked = b"transfer-encoding: chunked\r\n" in headers

    def seqs(self) -> list[int]:
        """The numbers of all events up to the end of the stream, which must be whole."""
        body = b"".join(self._chunks()) if self.is_chunked else self._file.read()
        self._socket.close()
        lines = [line for line in body.decode().split("\n") if line.startswith("data: ")]
        return [json.loads(line.removeprefix("data: "))["seq"] for line in lines]

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self._file.readline(), 16):
            yield self._file.read(size)
            assert self._file.read(2) == b"\r\n"


def begin(server: Server) -> str:
    return str(server.get(f"/begin?id={MODEL}").json()["load_id"])


def tell(server: Server, **options: Any) -> None:
    assert server.get("/tell", params={"id": MODEL, **options}).ok


def newest(server: Server) -> int:
    return int(server.snapshot(MODEL)["seq"])


def test_all_readers_receive_every_event_whatever_their_http(server: Server) -> None:
    load_id = begin(server)
    first = newest(server)
    readers = [Reader(server, load_id, version) for version in ("1.1", "1.1", "1.0")]
    tell(server, events=30, interval=0.005, end=1)
    expected = list(range(first, newest(server) + 1))
    assert [reader.is_chunked for reader in readers] == [True, True, False]
    assert [reader.seqs() for reader in readers] == [expected] * 3


def test_a_slow_reader_receives_every_event_and_whole(server: Server) -> None:
    load_id = begin(server)
    first = newest(server)
    slow, quick = Reader(server, load_id, buffer=4096), Reader(server, load_id)
    tell(server, events=200, interval=0.002, pad=PAD, end=1)  # more than the kernel takes for the slow one
    expected = list(range(first, newest(server) + 1))
    assert len(expected) > 200
    assert slow.seqs() == expected
    assert quick.seqs() == expected


def test_a_reader_that_has_left_is_forgotten(server: Server) -> None:
    load_id = begin(server)
    left = requests.get(f"{server.url}/api/loads/{load_id}/events", stream=True, timeout=30)
    stays = Reader(server, load_id)
    first = newest(server)
    left.close()
    tell(server, events=10, interval=0.01, end=1)
    assert stays.seqs() == list(range(first, newest(server) + 1))
    assert "Traceback" not in server.log()
