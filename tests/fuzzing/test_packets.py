"""Packets of Socket.IO over a real WebSocket and by polling: whatever comes, the server goes on."""

from __future__ import annotations

import json
from contextlib import suppress

import requests
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing.profile import fuzz
from tests.support.flooding import frame
from tests.support.ids import LLAMA
from tests.support.rawsocket import RawWatcher
from tests.support.server import Server

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda part: st.lists(part, max_size=4) | st.dictionaries(st.text(max_size=8), part, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(["subscribe", "unsubscribe", "connect", "disconnect", "message", "*", "__init__"])
EVENTS = st.builds(
    lambda kind, ack, name, rest: f"4{kind}{ack}{json.dumps([name, *rest])}",
    st.sampled_from(["2", "2/,", "2/x,", "3", "5", "51-", "6"]),
    st.sampled_from(["", "0", "7", "9" * 101]),
    NAMES | JSON,
    st.lists(st.fixed_dictionaries({}, optional={"id": JSON, "words": JSON}) | JSON, max_size=3),
)
PACKETS = EVENTS | st.builds(
    lambda head, rest: head + rest, st.sampled_from([*"0123456b", "40", "41", "44"]), st.text()
)
NO_FRAME = st.binary(max_size=200)


@fuzz(150)
@given(packets=st.lists(PACKETS, min_size=1, max_size=6))
def test_packets_over_a_websocket(quiet: Server, packets: list[str]) -> None:
    watcher = RawWatcher(quiet.port)
    with suppress(OSError):
        watcher.sock.sendall(b"".join(frame(0x81, packet.encode()) for packet in packets))
    watcher.close()
    other = RawWatcher(quiet.port)
    assert other.subscribe(LLAMA)["ok"]
    other.close()


@fuzz(100)
@given(head=st.integers(0, 255), text=st.binary(max_size=200), rest=NO_FRAME)
def test_frames_of_a_websocket(quiet: Server, head: int, text: bytes, rest: bytes) -> None:
    watcher = RawWatcher(quiet.port)
    with suppress(OSError):
        watcher.sock.sendall(frame(head, text) + rest)
    watcher.close()


@fuzz(100)
@given(bodies=st.lists(st.lists(PACKETS, max_size=20).map("\x1e".join) | st.text(), min_size=1, max_size=3))
def test_packets_by_polling(quiet: Server, bodies: list[str]) -> None:
    with requests.Session() as session:
        url = f"{quiet.url}/socket.io/?EIO=4&transport=polling"
        sid = json.loads(session.get(url, timeout=30).text[1:])["sid"]
        for body in ["40", *bodies]:
            response = session.post(f"{url}&sid={sid}", data=body.encode(), timeout=30)
            assert response.status_code in (200, 400), response.text
