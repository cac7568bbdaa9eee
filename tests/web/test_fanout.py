"""Fan-out over real sockets: beside python-socketio's own emit, with polling, busy and stuck watchers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from engineio.payload import Payload

from modelhub.states import EventName
from modelhub.web.fanout import Fanout
from tests.support.ids import LLAMA
from tests.support.rawsocket import RawWatcher
from tests.support.server import Server, wait_until
from tests.support.truth import TERMINAL, check_truth, must_arrive
from tests.support.types import Watch

MODEL = "demo/random-0.1gb"
SMALL_BUFFER = 4096
OpenRaw = Callable[..., RawWatcher]


def start_sender(folder: Path, fanout: str = "on", command: tuple[str, ...] = ()) -> Server:
    """A server that sends events of made-up loads on request."""
    server = Server(folder, FANOUT=fanout)
    server.command = list(command) or ["-m", "tests.support.telling_server"]
    return server.start().wait_warm()


def stop(server: Server) -> None:
    """Stop it while it is idle: a writer thread of engineio would swallow the signal."""
    server.get("/livez")
    server.stop()


@pytest.fixture(scope="module")
def senders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    """One server with fan-out, and one with python-socketio's own emit."""
    servers = {fanout: start_sender(tmp_path_factory.mktemp(fanout), fanout) for fanout in ("on", "off")}
    yield servers
    for server in servers.values():
        stop(server)


@pytest.fixture
def sender(senders: dict[str, Server]) -> Server:
    """The server with fan-out."""
    return senders["on"]


@pytest.fixture
def open_raw() -> Iterator[Callable[..., RawWatcher]]:
    """Opens bare watchers of a model: ``open_raw(server, buffer=4096)``."""
    opened: list[RawWatcher] = []

    def open_watcher(server: Server, model_id: str = MODEL, **options: Any) -> RawWatcher:
        opened.append(RawWatcher(server.port, **options))
        assert opened[-1].subscribe(model_id)["ok"]
        return opened[-1]

    yield open_watcher
    for watcher in opened:
        watcher.close()


def send_loads(server: Server, **options: Any) -> list[list[Any]]:
    """Have events of loads sent; returns [seq, name, load, step] of each event."""
    answer = server.get("/tell", params={"id": MODEL, "events": 40, "loads": 1, **options})
    return list(answer.json()["told"])


def open_poller(server: Server) -> Callable[[], requests.Response]:
    """Connect by polling and subscribe to the model; returns a function that polls once."""
    url = f"{server.url}/socket.io/?EIO=4&transport=polling"
    session = requests.Session()
    sid = session.get(url, timeout=5).text.split('"sid":"')[1].split('"')[0]
    for packet in ("40", f'420["subscribe",{{"id":"{MODEL}"}}]'):
        assert session.post(f"{url}&sid={sid}", data=packet, timeout=5).ok
    return lambda: session.get(f"{url}&sid={sid}", timeout=5)


def in_background(work: Callable[[], Any]) -> Callable[[], Any]:
    """Start ``work`` in a thread; returns a function that waits for its result."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()

    def wait() -> Any:
        thread.join(60)
        return results[0]

    return wait


@pytest.mark.parametrize("fanout", ["on", "off"])
def test_every_kind_of_watcher_is_sent_the_same_events(
    senders: dict[str, Server], open_raw: OpenRaw, watch: Watch, fanout: str
) -> None:
    server = senders[fanout]
    bare = [open_raw(server), open_raw(server, deflate=True)]
    polling, upgraded = watch(server, "polling"), watch(server, "polling", "websocket")
    wait_until(lambda: upgraded.client.transport() == "websocket")
    for watcher in (polling, upgraded):
        watcher.subscribe(MODEL)
    sent = send_loads(server, interval=0.005, loads=2, drain=1)
    first, second = (watcher.read_loads(2) for watcher in bare)
    for watcher in (polling, upgraded):
        watcher.wait_until(lambda events: must_arrive(sent) <= {payload["seq"] for _, payload in events})
        assert watcher.events == first
    assert first == second
    assert [[p["seq"], name, p["load_id"], p["step"]] for name, p in first] == sent
    assert [name for _, name, _, _ in sent if name in TERMINAL] == [
        "model_load_completed",
        "model_load_failed",
    ]


def test_fan_out_refuses_compression_and_python_socketio_s_own_emit_keeps_it(
    senders: dict[str, Server], open_raw: OpenRaw
) -> None:
    assert b"permessage-deflate" not in open_raw(senders["on"], deflate=True).headers
    assert b"permessage-deflate" in open_raw(senders["off"], deflate=True).headers


def test_a_busy_watcher_gets_the_newest_state_and_all_that_must_arrive(
    sender: Server, open_raw: OpenRaw
) -> None:
    busy, reading = open_raw(sender, buffer=SMALL_BUFFER), open_raw(sender)
    reader = in_background(reading.read_loads)
    sent = send_loads(sender, events=3000, interval=0.0005)
    assert max(sender.get("/waiting").json()) <= 9 * 2 + 4, "only what may not be left out, and the newest"
    got = [payload["seq"] for _, payload in busy.read_loads()]
    assert must_arrive(sent) <= set(got)
    assert got == sorted(set(got))
    assert len(got) < len(sent) / 2
    assert must_arrive(sent) <= {payload["seq"] for _, payload in reader()}


def test_a_busy_watcher_is_sent_the_newest_state(sender: Server, open_raw: OpenRaw) -> None:
    busy = open_raw(sender, buffer=SMALL_BUFFER)
    sent = send_loads(sender, events=900, interval=0.0005)
    late = [seq for seq, _, _, step in sent if step == 9][:-2]
    got = {payload["seq"] for _, payload in busy.read_loads()}
    assert len(got.intersection(late)) <= 1, "of the last step its first, its last, and nothing stale"


def test_acknowledgements_come_between_whole_frames(sender: Server, open_raw: OpenRaw) -> None:
    watcher = open_raw(sender)
    finished = in_background(lambda: send_loads(sender, events=400, interval=0.002, drain=1))
    snapshots, events = 0, []
    while not events or events[-1][0] not in TERMINAL:
        if len(events) % 10 == 0:
            assert watcher.subscribe(MODEL)["ok"]
            snapshots += 1
        events.append(watcher.next_event())
    assert [payload["seq"] for _, payload in events] == [seq for seq, _, _, _ in finished()]
    assert snapshots > 20


def test_a_frame_that_was_sent_in_part_is_finished_before_all_else(sender: Server, open_raw: OpenRaw) -> None:
    slow = open_raw(sender, buffer=SMALL_BUFFER)
    sent = send_loads(sender, events=9, pad=500_000)  # more than the kernel takes at once
    for _ in range(3):
        slow.send(b'427["subscribe",{"id":"' + MODEL.encode() + b'"}]')
    messages: list[bytes] = []
    while sum(message.startswith(b"437[") for message in messages) < 3:
        messages.append(slow.next())
    events = [message for message in messages if message.startswith(b"42[")]
    assert [int(message.split(b'"seq":')[1].split(b",")[0]) for message in events] == [t[0] for t in sent]
    assert slow.noops, "a frame was sent in parts"


def test_a_watcher_that_stopped_reading_is_dropped(sender: Server, open_raw: OpenRaw, watch: Watch) -> None:
    reading = watch(sender)
    reading.subscribe(MODEL)
    wait_until(lambda: len(sender.get("/waiting").json()) == 1)
    stuck = open_raw(sender, buffer=SMALL_BUFFER)
    for _ in range(8):  # never more at once than may wait for the one that reads
        sent = send_loads(sender, events=20, loads=10, interval=0.001)
        must = must_arrive(sent)
        reading.wait_until(lambda events, must=must: must <= {payload["seq"] for _, payload in events})
    wait_until(lambda: len(sender.get("/waiting").json()) == 1)
    assert stuck.ended()
    assert "A client was dropped" in sender.log()


def test_a_poller_that_stopped_polling_is_dropped(sender: Server) -> None:
    poll = open_poller(sender)
    assert len(sender.get("/waiting").json()) == 1
    send_loads(sender, events=20, loads=80)
    wait_until(lambda: sender.get("/waiting").json() == [])
    assert poll().status_code == 400


def test_a_poller_is_sent_no_more_packets_at_once_than_a_python_client_takes(sender: Server) -> None:
    poll = open_poller(sender)
    sent = send_loads(sender, events=20, loads=5)
    assert max(sender.get("/waiting").json()) > 3 * Payload.max_decode_packets
    got: list[str] = []
    while sum(any(name in packet for name in TERMINAL) for packet in got) < 5:
        answer = poll().text.split("\x1e")
        assert len(answer) <= Payload.max_decode_packets
        got += answer
    arrived = {int(packet.split('"seq":')[1].split(",")[0]) for packet in got if packet.startswith("42[")}
    assert must_arrive(sent) <= arrived


STRANGE = {
    "a queue without a deque": """
class Plain(list):
    def popleft(self): return self.pop(0)
class Queue(driver._async["queue"]):
    def _init(self, maxsize): self.queue = Plain()
driver._async["queue"] = Queue
""",
    "a socket that is hidden": """
class Hidden:
    def __init__(self, ws): self.wait, self.send, self.close = ws.wait, ws.send, ws.close
WebSocket = driver._async["websocket"]
driver._async["websocket"] = lambda handler, server: WebSocket(lambda ws: handler(Hidden(ws)), server)
""",
    "another writer": """
import engineio
def poll(self): return Socket_poll(self)
Socket_poll, engineio.socket.Socket.poll = engineio.socket.Socket.poll, poll
""",
}


@pytest.mark.parametrize("what", STRANGE)
def test_unexpected_internals_are_noticed_and_python_socketio_s_own_emit_is_used(
    tmp_path: Path, open_raw: OpenRaw, what: str
) -> None:
    patched = "import modelhub.server\nfrom engineio.async_drivers import eventlet as driver\n"
    run = "import runpy; runpy.run_module('tests.support.telling_server', run_name='__main__')"
    server = start_sender(tmp_path, command=("-c", patched + STRANGE[what] + run))
    try:
        watcher = open_raw(server)
        sent = send_loads(server, interval=0.005)
        assert [payload["seq"] for _, payload in watcher.read_loads()] == [t[0] for t in sent]
    finally:
        stop(server)
    assert "not as expected" in server.log()
    assert "Traceback" not in server.log().partition("Working outside of request context")[0]


def test_threading_mode_uses_python_socketio_s_own_emit(
    tmp_path: Path, models_dir: Path, open_raw: OpenRaw
) -> None:
    server = Server(tmp_path, MODELS_DIR=models_dir)
    run = f"socketio.run(app, port={server.port}, allow_unsafe_werkzeug=True)"
    server.command = [
        "-c",
        f"from modelhub import create_app; app = create_app(); socketio = app.extensions['socketio']; {run}",
    ]
    server.start()
    try:
        watcher = open_raw(server, LLAMA)
        server.request_load(LLAMA)
        events = watcher.read_loads()
    finally:
        stop(server)
    assert events[-1][0] == "model_load_completed"
    check_truth(events)


def test_what_is_newer_of_a_model_in_use_replaces_what_waits() -> None:
    fanout = Fanout()

    def replaces(name: EventName, load_id: str = "1") -> Any:
        return fanout._supersedes(name, {"id": "org/a", "load_id": load_id, "step": 9})

    assert replaces(EventName.PROGRESS) is None
    assert replaces(EventName.IN_USE) is None, "the first is always sent"
    assert replaces(EventName.IN_USE) == replaces(EventName.IN_USE) is not None
    assert replaces(EventName.IN_USE, "2") is None
    assert replaces(EventName.UNLOADED) is None
    assert replaces(EventName.IN_USE, "2") is None


def test_a_real_load_by_fan_out(empty_server: Server, open_raw: OpenRaw) -> None:
    watcher = open_raw(empty_server, LLAMA)
    empty_server.load(LLAMA)
    events = watcher.read_loads()
    check_truth(events, with_gaps=True)
    assert events[-1][1] == empty_server.snapshot(LLAMA)
