"""Raw HTTP over a real connection: headers of any kind, and what would hide a second request."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing.profile import fuzz
from tests.support.server import Server


def send(server: Server, request: bytes) -> list[int]:
    """Send bytes, and nothing after them; returns the status of each response."""
    found = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock, suppress(ConnectionError):
        with suppress(OSError):  # the server may have answered and closed it already
            sock.sendall(request)
            sock.shutdown(socket.SHUT_WR)
        while piece := sock.recv(65536):
            found += piece
    return [int(part[2:5]) for part in found.split(b"HTTP/1.")[1:]]


NAMES = st.sampled_from([
    *("Host", "Origin", "Cookie", "Accept", "Accept-Language", "Content-Type", "Content-Length", "Range"),
    *("Transfer-Encoding", "Last-Event-ID", "Upgrade", "Connection", "Expect", "Referer", "User-Agent"),
    *("X-Forwarded-For", "X-Forwarded-Host", "X-CSRFToken", "If-None-Match", "Sec-WebSocket-Key"),
])  # fmt: skip
VALUES = st.one_of(
    st.text(max_size=30).map(lambda text: text.encode().replace(b"\r", b"").replace(b"\n", b"")),
    st.binary(max_size=30).map(lambda data: data.replace(b"\r", b"").replace(b"\n", b"")),
    st.sampled_from([
        *(b"0", b"-1", b"9" * 30, b"1e3", b"5, 6", b"chunked", b"gzip, chunked", b"100-continue"),
        *(b"websocket",),
        *(b"application/json", b"multipart/form-data; boundary=x", b"multipart/form-data", b"text/html;q=x"),
        *(b"bytes=0-", b"bytes=9-1", b"bytes=--1", b"modelhub=x.y.z", b"modelhub=.", b"[::1", b":"),
        *(b"close", b"keep-alive, Upgrade", b"1:2:3", b"x" * 5000),
    ]),
)  # fmt: skip
LINES = st.sampled_from([
    *("GET / HTTP/1.1", "GET /static/live.js HTTP/1.1", "GET /api/models?limit=1 HTTP/1.1"),
    *("POST /loads HTTP/1.1", "POST /api/loads HTTP/1.1", "GET /api/loads/x/events HTTP/1.1"),
    *("GET /api/loads HTTP/1.1", "OPTIONS /api/loads HTTP/1.1"),
    "GET /socket.io/?EIO=4&transport=polling HTTP/1.1",
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1",
    *("POST /socket.io/?EIO=4&transport=polling&sid=x HTTP/1.1", "PUT / HTTP/1.0", "BREW /docs HTTP/1.1"),
    *("GET /api/loads?limit=%ff HTTP/1.1", "GET //evil.example/ HTTP/1.1", "GET"),
    "GET http://evil.example/ HTTP/1.1",
])  # fmt: skip


@fuzz(200)
@given(
    line=LINES,
    has_host=st.booleans(),
    headers=st.lists(st.tuples(NAMES, VALUES), max_size=5),
    body=st.sampled_from([b"", b"{}", b"a=b", b"5\r\nhello\r\n0\r\n\r\n", b"zz\r\n", b"\x00\xff"]),
)
def test_headers(
    quiet: Server, line: str, has_host: bool, headers: list[tuple[str, bytes]], body: bytes
) -> None:
    host = f"Host: 127.0.0.1:{quiet.port}\r\n" if has_host else ""
    lines = b"".join(name.encode() + b": " + value + b"\r\n" for name, value in headers)
    statuses = send(quiet, f"{line}\r\n{host}".encode() + lines + b"Connection: close\r\n\r\n" + body)
    assert 500 not in statuses


def test_a_request_of_two_lengths_is_refused(quiet: Server) -> None:
    """Were one of them believed, and the other by a proxy, the second request would be another client's."""
    head = f"POST /api/loads HTTP/1.1\r\nHost: 127.0.0.1:{quiet.port}\r\n"
    hidden = f"GET /livez HTTP/1.1\r\nHost: 127.0.0.1:{quiet.port}\r\n\r\n"
    both = "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert send(quiet, f"{head}{both}0\r\n\r\n{hidden}".encode()) == [400]
    twice = f"Content-Length: 0\r\nContent-Length: {len(hidden)}\r\n\r\n"
    assert send(quiet, f"{head}{twice}{hidden}".encode()) == [400]
    for encoding in ("gzip, chunked", "xchunked", "chunked, identity", "identity"):
        assert send(quiet, f"{head}Transfer-Encoding: {encoding}\r\n\r\n0\r\n\r\n{hidden}".encode()) in (
            [400],
            [501],
        )
    for length in ("-1", "+4", "4 4", "0x4", "4,4", "1_0", "٤"):
        assert send(quiet, f"{head}Content-Length: {length}\r\n\r\nabcd{hidden}".encode()) == [400]


def test_chunks_that_are_none_end_the_connection(quiet: Server) -> None:
    head = f"POST /api/loads HTTP/1.1\r\nHost: 127.0.0.1:{quiet.port}\r\nContent-Type: application/json\r\n"
    hidden = f"GET /livez HTTP/1.1\r\nHost: 127.0.0.1:{quiet.port}\r\n\r\n"
    for chunks in (
        "zz\r\n{}\r\n",
        "-1\r\n{}",
        "0x2\r\n{}\r\n0\r\n\r\n",
        "2\r\n{",
        "1_0\r\n{}",
        "\r\n",
        "2\r\n{}3\r\n",
    ):
        statuses = send(quiet, f"{head}Transfer-Encoding: chunked\r\n\r\n{chunks}{hidden}".encode())
        assert len(statuses) <= 1
        assert not statuses or statuses[0] in (400, 422)


def test_a_body_in_chunks_is_read(quiet: Server) -> None:
    head = f"POST /api/loads HTTP/1.1\r\nHost: 127.0.0.1:{quiet.port}\r\nContent-Type: application/json\r\n"
    body = b'e\r\n{"model": "a..\r\n2\r\n"}\r\n0\r\n\r\n'
    after = f"GET /livez HTTP/1.1\r\nHost: 127.0.0.1:{quiet.port}\r\nConnection: close\r\n\r\n".encode()
    assert send(quiet, f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + body + after) == [422, 200]


@pytest.mark.parametrize(
    "headers",
    [
        "X: y\r\n" * 200,
        f"X: {'y' * 9000}\r\n",
        "".join(f"X{n}: {'y' * 800}\r\n" for n in range(99)),
        f"{'X' * 9000}: y\r\n",
    ],
    ids=["many", "long", "large", "name"],
)
def test_too_many_headers_are_refused(quiet: Server, headers: str) -> None:
    head = f"GET /livez HTTP/1.1\r\nHost: 127.0.0.1:{quiet.port}\r\n"
    assert send(quiet, f"{head}{headers}\r\n".encode())[:1] in ([400], [431])


def test_a_long_address_is_refused(quiet: Server) -> None:
    assert send(quiet, b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n") == [414]


@pytest.mark.parametrize("header", [b"X\x00: y", b"X: y\x00z", b"X : y", b" X: y", b"X\x0b: y", b"no colon"])
def test_control_characters_in_headers_reach_nobody(quiet: Server, header: bytes) -> None:
    head = f"GET /livez HTTP/1.1\r\nHost: 127.0.0.1:{quiet.port}\r\n".encode()
    statuses = send(quiet, head + header + b"\r\nConnection: close\r\n\r\n")
    assert statuses in ([200], [400])
