"""Messages over a socket pair."""

from __future__ import annotations

import os
import socket
import threading

import pytest

from modelhub.workers.channel import Channel


@pytest.fixture
def ends() -> tuple[Channel, Channel]:
    one, other = socket.socketpair()
    return Channel(one), Channel(other)


def test_messages_arrive_whole_and_in_order(ends: tuple[Channel, Channel]) -> None:
    sender, reader = ends
    writer = threading.Thread(target=lambda: [sender.send({"n": n, "text": "ü" * n}) for n in range(500)])
    writer.start()
    assert [reader.receive(5) for _ in range(500)] == [{"n": n, "text": "ü" * n} for n in range(500)]
    writer.join()


def test_a_body_follows_its_message(ends: tuple[Channel, Channel]) -> None:
    sender, reader = ends
    body = os.urandom(3_000_000)
    writer = threading.Thread(
        target=lambda: (sender.send({"length": len(body)}, body), sender.send({"then": 1}))
    )
    writer.start()
    assert reader.receive(5) == {"length": len(body)}
    assert reader.receive_body(len(body)) == body
    assert reader.receive(5) == {"then": 1}
    writer.join()


def test_a_timeout_returns_none_and_loses_nothing(ends: tuple[Channel, Channel]) -> None:
    sender, reader = ends
    sender.socket.sendall(b'{"half":')
    assert reader.receive(0.01) is None
    sender.socket.sendall(b" 1}\n")
    assert reader.receive(5) == {"half": 1}


def test_shut_down_ends_both_ends_and_a_reader_that_waits(ends: tuple[Channel, Channel]) -> None:
    one, other = ends
    threading.Timer(0.05, one.shut_down).start()
    for channel in (one, other):
        with pytest.raises(EOFError):
            channel.receive(5)


@pytest.mark.parametrize("line", [b"[1]\n", b"{nonsense}\n", b"\n"])
def test_a_line_that_is_not_an_object_is_an_error(ends: tuple[Channel, Channel], line: bytes) -> None:
    sender, reader = ends
    sender.socket.sendall(line)
    with pytest.raises(ValueError):  # noqa: PT011 - whichever of the two it is
        reader.receive(5)


def test_a_descriptor_is_passed(ends: tuple[Channel, Channel], tmp_path: object) -> None:
    sender, reader = ends[0], Channel(ends[1].socket, takes_descriptors=True)
    read_end, write_end = os.pipe()
    sender.send_with_fd({"take": 1}, write_end)
    reader.fill()
    assert reader.buffered()
    assert reader.receive(0) == {"take": 1}
    os.write(reader.descriptors[0], b"hello")
    assert os.read(read_end, 5) == b"hello"
    for descriptor in (read_end, write_end, *reader.descriptors):
        os.close(descriptor)
