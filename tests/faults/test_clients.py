"""Clients that are cut off, stop reading, or are many: each shows the truth in the end, and delays nobody."""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psutil
import pytest
import requests

from tests.support.cutting import cut_at_random
from tests.support.flooding import flood
from tests.support.ids import BERT, DEMO
from tests.support.invariants import check_invariants
from tests.support.rawsocket import RawWatcher
from tests.support.server import Server

PAD = 380


def test_clients_that_are_cut_at_random_show_what_the_server_says(empty_server: Server) -> None:
    cut_at_random(empty_server, BERT, cuts=60, rng=random.Random(11))
    check_invariants(empty_server)


# Clients that stop reading. The loads are made up, so that their events come as fast as no real load's.


@pytest.fixture(scope="module")
def teller(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that reports progress of made-up loads, with fan-out or python-socketio's own emit."""
    running = Server(tmp_path_factory.mktemp("teller"), FANOUT=request.param)
    running.command = ["-m", "tests.support.streaming_server"]
    yield running.start().wait_warm()
    running.stop()


def begin(server: Server) -> str:
    """Begin a made-up load."""
    return str(server.get("/begin", params={"id": DEMO}).json()["load_id"])


def tell(server: Server, **options: Any) -> None:
    """Report progress of the load that was begun."""
    assert server.get("/tell", params={"id": DEMO, **options}).ok


class Reading(threading.Thread):
    """A watcher that reads what comes, up to the end of the load, and how late it came."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.payloads: list[dict[str, Any]] = []
        self.late_s: list[float] = []
        self._watcher = RawWatcher(port)
        assert self._watcher.subscribe(DEMO)["ok"]
        self.start()

    def run(self) -> None:
        """Read."""
        while not self.payloads or self.payloads[-1]["state"] == "loading":
            name, payload = self._watcher.next_event()
            self.payloads.append(payload)
            if name == "model_load_progress" and payload["detail"]:
                self.late_s.append(time.monotonic() - int(payload["detail"].split()[0]) / 1e9)

    def finish(self) -> None:
        """Wait for the end of the load."""
        self.join(60)
        self._watcher.close()
        assert self.payloads[-1]["state"] == "cancelled"


class StuckPoller:
    """Subscribes by polling, and polls no more."""

    def __init__(self, server: Server) -> None:
        self._url = f"{server.url}/socket.io/?EIO=4&transport=polling"
        self.session = requests.Session()
        self._url += "&sid=" + json.loads(self.session.get(self._url, timeout=30).text[1:])["sid"]
        self._post("40")
        while b"40{" not in self.session.get(self._url, timeout=30).content:
            pass
        self._post(f'420["subscribe",{{"id":"{DEMO}"}}]')

    def _post(self, packet: str) -> None:
        assert self.session.post(self._url, data=packet, timeout=30).ok

    def read_all(self) -> list[bytes]:
        """What waits for it up to the end of the load; empty once it was dropped."""
        found: list[bytes] = []
        while not any(b'"cancelled"' in packet for packet in found[-16:]):
            response = self.session.get(self._url, timeout=30)
            if not response.ok:
                return []
            found += response.content.split(b"\x1e")
        return found


class StuckStream:
    """Asks for server-sent events, and reads none."""

    def __init__(self, server: Server, load_id: str) -> None:
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.sock.settimeout(30)
        self.sock.connect(("127.0.0.1", server.port))
        head = f"GET /api/loads/{load_id}/events HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n"
        self.sock.sendall(head.encode())

    def read_all(self) -> bytes:
        """The stream, up to its end."""
        found = b""
        while not found.endswith(b"\r\n0\r\n\r\n"):
            piece = self.sock.recv(65536)
            if not piece:
                return found
            found += piece
        return found


@pytest.mark.parametrize("teller", ["on", "off"], indirect=True)
def test_clients_that_stop_reading_take_little_memory_and_delay_nobody(teller: Server) -> None:
    process = psutil.Process(teller.pid)
    load_id = begin(teller)
    reading = Reading(teller.port)
    with ExitStack() as stack:
        watchers = [RawWatcher(teller.port, buffer=4096) for _ in range(10)]
        pollers = [StuckPoller(teller) for _ in range(10)]
        streams = [StuckStream(teller, load_id) for _ in range(10)]
        for watcher in watchers:
            stack.callback(watcher.close)
            assert watcher.subscribe(DEMO)["ok"]
        for poller in pollers:
            stack.enter_context(poller.session)
        for stream in streams:
            stack.enter_context(stream.sock)
        before = process.memory_info().rss
        tell(teller, events=1500, interval=0.002, pad=PAD, end=1)
        grown = process.memory_info().rss - before
        reading.finish()
        late = sorted(reading.late_s)
        assert late[len(late) * 99 // 100] < 1.0, f"p99 {late[len(late) * 99 // 100]} s, at most {late[-1]} s"
        seqs = [payload["seq"] for payload in reading.payloads]
        assert seqs == sorted(set(seqs))
        assert grown < 40e6, f"{grown / 1e6:.0f} MB for 30 clients that do not read"
        for stream in streams:  # each resumes right: the end of the load is the last that it reads
            assert stream.read_all().rpartition(b"event: ")[2].startswith(b"model_load_cancelled")
        for watcher in watchers:
            names = [name for name, _ in watcher.read_loads()]
            assert names[-1] == "model_load_cancelled"
        for poller in pollers:
            packets = poller.read_all()
            assert not packets or b"model_load_cancelled" in b"".join(packets[-16:])
    check_invariants(teller)


@pytest.mark.parametrize("teller", ["on"], indirect=True)
def test_a_stream_continues_after_a_short_gap_and_after_a_long_one_with_the_newest(teller: Server) -> None:
    load_id = begin(teller)
    tell(teller, events=9)
    epoch, seq = (teller.snapshot(DEMO)[name] for name in ("epoch", "seq"))
    tell(teller, events=20, end=1)
    newest = teller.snapshot(DEMO)["seq"]
    assert continued(teller, load_id, f"{epoch}:{seq}") == list(range(seq + 1, newest + 1))

    load_id = begin(teller)
    first = teller.snapshot(DEMO)["seq"]
    tell(teller, events=400, end=1)  # more than are kept
    newest = teller.snapshot(DEMO)["seq"]
    seqs = continued(teller, load_id, f"{epoch}:{first}")
    assert first + 1 < seqs[0]
    assert seqs == list(range(seqs[0], newest + 1))
    check_invariants(teller)


def continued(server: Server, load_id: str, last_event_id: str) -> list[int]:
    """The numbers of the events that a reader gets who has seen those up to ``last_event_id``."""
    response = server.get(f"/api/loads/{load_id}/events", headers={"Last-Event-ID": last_event_id})
    lines = [line for line in response.text.split("\n") if line.startswith("data: ")]
    return [json.loads(line.removeprefix("data: "))["seq"] for line in lines]


@pytest.mark.parametrize("teller", ["on"], indirect=True)
def test_fifty_watchers_of_one_load_get_its_start_each_step_and_its_end_at_once(teller: Server) -> None:
    watchers = [Reading(teller.port) for _ in range(50)]
    begin(teller)
    tell(teller, events=45, interval=0.02, end=1)
    for watcher in watchers:
        watcher.finish()
        assert watcher.payloads[0]["progress"] == 0
        steps = [payload["step"] for payload in watcher.payloads[1:-1]]
        assert sorted(set(steps)) == list(range(1, 10))
    late = sorted(value for watcher in watchers for value in watcher.late_s)
    assert late[len(late) * 99 // 100] < 1.0
    check_invariants(teller)


FLOODS = {
    "on": (
        *("subscribe", "large frames", "malformed packets", "pipelined requests"),
        "a million keys",
        "polling",
    ),
    "off": ("subscribe", "large frames"),
}


@pytest.mark.parametrize("teller", ["on", "off"], indirect=True)
def test_a_flood_from_one_client_delays_no_other(teller: Server) -> None:
    for kind in FLOODS[teller.environ["MODELHUB_FANOUT"]]:
        read = len(teller.log())
        reading = Reading(teller.port)
        with flood(kind, teller.port):
            begin(teller)
            tell(teller, events=50, interval=0.02, end=1)
            reading.finish()
        late = sorted(reading.late_s)
        assert late[len(late) // 2] < 0.1, f"{kind}: {late[len(late) // 2]} s"
        assert late[len(late) * 9 // 10] < 0.5, f"{kind}: {late[len(late) * 9 // 10]} s"  # on a busy machine
        assert len(teller.log()) - read < 3000, f"{kind} floods the log, too"
