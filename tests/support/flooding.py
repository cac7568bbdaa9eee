"""A client that floods a server, in a process of its own: ``python -m tests.support.flooding KIND PORT``.

It prints "ready" once it has begun, and goes on until it is killed. Where the server ends a connection, it
opens another at once.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.ids import DEMO
from tests.support.rawsocket import RawWatcher

_ROOT = Path(__file__).resolve().parents[2]
_JSON = "Content-Type: application/json"


def frame(head: int, text: bytes) -> bytes:
    """A frame under a mask of zeros."""
    size = len(text)
    length = bytes((0x80 | size,)) if size < 126 else bytes((0x80 | 126,)) + size.to_bytes(2, "big")
    return bytes((head,)) + length + bytes(4) + text


def _request(port: int, line: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [line, f"Host: 127.0.0.1:{port}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _send_frames(port: int, frames: bytes) -> None:
    watcher = RawWatcher(port)
    while True:
        watcher.sock.sendall(frames)


def _send_requests(port: int, request: bytes) -> None:
    """One request after the other over one connection, each once the response to the last has begun."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
        while True:
            sock.sendall(request)
            while len(sock.recv(1 << 20)) == 1 << 20:
                pass


def _pipeline(port: int) -> None:
    """Requests, none of whose responses is waited for."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
        threading.Thread(target=_read_all, args=(sock,), daemon=True).start()
        while True:
            sock.sendall(_request(port, "GET /livez HTTP/1.1") * 50)


def _read_all(sock: socket.socket) -> None:
    with suppress(OSError):
        while sock.recv(1 << 20):
            pass


def _connect(port: int) -> None:
    while True:
        socket.create_connection(("127.0.0.1", port), timeout=60).close()


def _open_session(port: int) -> None:
    _send_requests(port, _request(port, "GET /socket.io/?EIO=4&transport=polling HTTP/1.1"))


def _post_packets(port: int) -> None:
    """A session by polling that subscribes 16 times in each request, as often as a payload may."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
        sock.sendall(_request(port, "GET /socket.io/?EIO=4&transport=polling HTTP/1.1"))
        sid = sock.recv(65536).decode().split('"sid":"')[1].split('"')[0]
        line = f"POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1"
        sock.sendall(_request(port, line, b"40"))
        sock.recv(65536)
        packets = "\x1e".join([f'42["subscribe",{{"id":"{DEMO}"}}]'] * 16)
        while True:
            sock.sendall(_request(port, line, packets.encode()))
            sock.recv(65536)


def _post(port: int, path: str, body: bytes) -> None:
    _send_requests(port, _request(port, f"POST {path} HTTP/1.1", body, _JSON))


_SUBSCRIBE = frame(0x81, f'42["subscribe",{{"id":"{DEMO}"}}]'.encode())
# What each kind does, and in how many threads at a time.
FLOODS: dict[str, tuple[int, Callable[[int], None]]] = {
    "subscribe": (1, lambda port: _send_frames(port, _SUBSCRIBE * 100)),
    "dashboard": (4, lambda port: _send_frames(port, frame(0x81, b'42["subscribe",{}]') * 100)),
    "large frames": (1, lambda port: _send_frames(port, frame(0x81, b'42["x","' + b"x" * 16000 + b'"]'))),
    "fragments": (1, lambda port: _send_frames(port, (frame(0x01, b"x") + frame(0, b"") * 4000))),
    "WebSocket pings": (1, lambda port: _send_frames(port, frame(0x89, b"x" * 100) * 100)),
    "malformed packets": (4, lambda port: _send_frames(port, frame(0x81, b"42[") * 50)),
    "polling": (4, _post_packets),
    "sessions": (4, _open_session),
    "connections": (4, _connect),
    "pipelined requests": (4, _pipeline),
    "lists of models": (
        16,
        lambda port: _send_requests(port, _request(port, "GET /api/models HTTP/1.1")),
    ),
    "pages": (16, lambda port: _send_requests(port, _request(port, "GET / HTTP/1.1"))),
    "a million keys": (
        2,
        lambda port: _post(port, "/api/loads", json.dumps(dict.fromkeys(map(str, range(10**6)))).encode()),
    ),
    "a long id": (
        2,
        lambda port: _post(port, "/api/loads", json.dumps({"model": "x" * 15_000_000}).encode()),
    ),
    "many values": (
        2,
        lambda port: _post(
            port, "/api/predictions", json.dumps({"model": DEMO, "inputs": [0.5] * 3_000_000}).encode()
        ),
    ),
    "a large form": (
        2,
        lambda port: _send_requests(
            port,
            _request(
                *(port, "POST /loads HTTP/1.1", b"a&" * 250_000),
                "Content-Type: application/x-www-form-urlencoded",
            ),
        ),
    ),
}


@contextmanager
def flood(kind: str, port: int) -> Iterator[None]:
    """A flood of this kind while the block runs."""
    command = [sys.executable, "-m", "tests.support.flooding", kind, str(port)]
    process = subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield
        assert process.poll() is None, "the flood has ended early"
    finally:
        process.kill()
        process.communicate()


def _again_and_again(work: Callable[[int], None], port: int) -> None:
    while True:
        with suppress(OSError, AssertionError, IndexError):
            work(port)


def main() -> None:
    """Flood until killed."""
    kind, port = sys.argv[1], int(sys.argv[2])
    count, work = FLOODS[kind]
    os.nice(1)  # it shares the cores with the server that it floods
    for _ in range(count):
        threading.Thread(target=_again_and_again, args=(work, port), daemon=True).start()
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
