"""Fan-out over real sockets: beside stock, polling and acknowledgements, with busy and stuck watchers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.ids import LLAMA
from tests.support.rawsocket import RawWatcher, must_arrive
from tests.support.server import Server, wait_until
from tests.support.truth import TERMINAL, check_truth
from tests.support.types import Watch

MODEL = "demo/random-0.1gb"
SMALL_BUFFER = 4096
OpenRaw = Callable[..., RawWatcher]


def start_teller(folder: Path, fanout: str = "on", command: tuple[str, ...] = ()) -> Server:
    """A server that tells made-up loads when asked to."""
    server = Server(folder, FANOUT=fanout)
    server.command = list(command) or ["-m", "tests.support.telling_server"]
    return server.start()


def stop(server: Server) -> None:
    """End it when it is at rest: a writer of engineio swallows the signal if it happens to run just then."""
    server.get("/livez")
    server.stop()


@pytest.fixture(scope="module")
def tellers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    """One server that tells by fan-out, and one by the stock emit."""
    servers = {fanout: start_teller(tmp_path_factory.mktemp(fanout), fanout) for fanout in ("on", "off")}
    yield servers
    for server in servers.values():
        stop(server)


@pytest.fixture
def teller(tellers: dict[str, Server]) -> Server:
    """The server that tells by fan-out."""
    return tellers["on"]


@pytest.fixture
def open_raw() -> Iterator[Callable[..., RawWatcher]]:
    """Opens bare watchers of the model: ``open_raw(server, buffer=4096)``."""
    opened: list[RawWatcher] = []

    def open_watcher(server: Server, **options: Any) -> RawWatcher:
        opened.append(RawWatcher(server.port, **options))
        assert opened[-1].subscribe(MODEL)["ok"]
        return opened[-1]

    yield open_watcher
    for watcher in opened:
        watcher.close()


def tell(server: Server, **options: Any) -> list[list[Any]]:
    """Have loads told; answers [seq, name, load, step] of each event."""
    answer = server.get("/tell", params={"id": MODEL, "events": 40, "loads": 1, **options})
    return list(answer.json()["told"])


def in_background(work: Callable[[], Any]) -> Callable[[], Any]:
    """Start ``work`` in a thread; answers what waits for its result."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()

    def wait() -> Any:
        thread.join(60)
        return results[0]

    return wait


@pytest.mark.parametrize("fanout", ["on", "off"])
def test_every_kind_of_watcher_is_told_the_same(
    tellers: dict[str, Server], open_raw: OpenRaw, watch: Watch, fanout: str
) -> None:
    server = tellers[fanout]
    bare = [open_raw(server), open_raw(server, deflate=True)]
    polling, upgraded = watch(server, "polling"), watch(server, "polling", "websocket")
    wait_until(lambda: upgraded.client.transport() == "websocket")
    for watcher in (polling, upgraded):
        watcher.subscribe(MODEL)
    told = tell(server, interval=0.005, loads=2)
    first, second = (watcher.read_loads(2) for watcher in bare)
    for watcher in (polling, upgraded):
        watcher.wait_until(lambda events: must_arrive(told) <= {payload["seq"] for _, payload in events})
        assert all(event in first for event in watcher.events)
        assert len(watcher.events) == len(told) or (fanout == "on" and watcher is polling), (
            "may be busy polling"
        )
    assert first == second
    assert [[p["seq"], name, p["load_id"], p["step"]] for name, p in first] == told
    assert [name for _, name, _, _ in told if name in TERMINAL] == [
        "model_load_completed",
        "model_load_failed",
    ]


def test_fan_out_takes_no_compression_and_stock_is_left_as_it_is(
    tellers: dict[str, Server], open_raw: OpenRaw
) -> None:
    assert b"permessage-deflate" not in open_raw(tellers["on"], deflate=True).headers
    assert b"permessage-deflate" in open_raw(tellers["off"], deflate=True).headers


def test_a_busy_watcher_gets_the_newest_state_and_all_that_must_arrive(
    teller: Server, open_raw: OpenRaw
) -> None:
    busy, reading = open_raw(teller, buffer=SMALL_BUFFER), open_raw(teller)
    reader = in_background(reading.read_loads)
    told = tell(teller, events=3000, interval=0.0005)
    assert max(teller.get("/waiting").json()) <= 9 * 2 + 4, "only what may not be left out, and the newest"
    got = [payload["seq"] for _, payload in busy.read_loads()]
    assert must_arrive(told) <= set(got)
    assert got == sorted(set(got))
    assert len(got) < len(told) / 2
    assert must_arrive(told) <= {payload["seq"] for _, payload in reader()}


def test_a_busy_watcher_is_told_what_is_newest_now(teller: Server, open_raw: OpenRaw) -> None:
    busy = open_raw(teller, buffer=SMALL_BUFFER)
    told = tell(teller, events=900, interval=0.0005)
    late = [seq for seq, _, _, step in told if step == 9][:-2]
    got = {payload["seq"] for _, payload in busy.read_loads()}
    assert len(got.intersection(late)) <= 1, "of the last step its first, its last, and nothing stale"


def test_acknowledgements_come_between_whole_frames(teller: Server, open_raw: OpenRaw) -> None:
    watcher = open_raw(teller)
    finished = in_background(lambda: tell(teller, events=400, interval=0.002))
    snapshots, events = 0, []
    while not events or events[-1][0] not in TERMINAL:
        if len(events) % 10 == 0:
            assert watcher.subscribe(MODEL)["ok"]
            snapshots += 1
        events.append(watcher.next_event())
    assert [payload["seq"] for _, payload in events] == [seq for seq, _, _, _ in finished()]
    assert snapshots > 20


def test_a_frame_that_was_sent_in_part_is_finished_before_all_else(teller: Server, open_raw: OpenRaw) -> None:
    slow = open_raw(teller, buffer=SMALL_BUFFER)
    told = tell(teller, events=9, pad=500_000)  # more than the kernel takes at once
    for _ in range(3):
        slow.send(b'427["subscribe",{"id":"' + MODEL.encode() + b'"}]')
    messages: list[bytes] = []
    while sum(message.startswith(b"437[") for message in messages) < 3:
        messages.append(slow.next())
    events = [message for message in messages if message.startswith(b"42[")]
    assert [int(message.split(b'"seq":')[1].split(b",")[0]) for message in events] == [t[0] for t in told]
    assert slow.noops, "a frame was sent in parts"


def test_a_watcher_that_stopped_reading_is_dropped(teller: Server, open_raw: OpenRaw, watch: Watch) -> None:
    reading = watch(teller)
    reading.subscribe(MODEL)
    wait_until(lambda: len(teller.get("/waiting").json()) == 1)
    stuck = open_raw(teller, buffer=SMALL_BUFFER)
    for _ in range(8):  # never more at once than may wait for the one that reads
        told = tell(teller, events=20, loads=10, interval=0.001)
        must = must_arrive(told)
        reading.wait_until(lambda events, must=must: must <= {payload["seq"] for _, payload in events})
    wait_until(lambda: len(teller.get("/waiting").json()) == 1)
    assert stuck.ended()
    assert "A client was dropped" in teller.log()


def test_a_poller_that_stopped_polling_is_dropped(teller: Server) -> None:
    url = f"{teller.url}/socket.io/?EIO=4&transport=polling"
    session = requests.Session()
    sid = session.get(url, timeout=5).text.split('"sid":"')[1].split('"')[0]
    for packet in ("40", f'420["subscribe",{{"id":"{MODEL}"}}]'):
        assert session.post(f"{url}&sid={sid}", data=packet, timeout=5).ok
    assert len(teller.get("/waiting").json()) == 1
    tell(teller, events=20, loads=80)
    wait_until(lambda: teller.get("/waiting").json() == [])
    assert session.get(f"{url}&sid={sid}", timeout=5).status_code == 400


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
def test_other_insides_are_noticed_and_stock_does_the_work(
    tmp_path: Path, open_raw: OpenRaw, what: str
) -> None:
    patched = (
        "import eventlet; eventlet.monkey_patch()\nfrom engineio.async_drivers import eventlet as driver\n"
    )
    run = "import runpy; runpy.run_module('tests.support.telling_server', run_name='__main__')"
    server = start_teller(tmp_path, command=("-c", patched + STRANGE[what] + run))
    try:
        watcher = open_raw(server)
        told = tell(server, interval=0.005)
        assert [payload["seq"] for _, payload in watcher.read_loads()] == [t[0] for t in told]
    finally:
        stop(server)
    assert "not as expected" in server.log()
    assert "Traceback" not in server.log().partition("Working outside of request context")[0]


def test_threading_mode_is_told_by_stock(tmp_path: Path, models_dir: Path) -> None:
    server = Server(tmp_path, MODELS_DIR=models_dir)
    run = f"socketio.run(app, port={server.port}, allow_unsafe_werkzeug=True)"
    server.command = [
        "-c",
        f"from modelhub import create_app; app = create_app(); socketio = app.extensions['socketio']; {run}",
    ]
    server.start()
    try:
        watcher = RawWatcher(server.port)
        watcher.subscribe(LLAMA)
        server.request_load(LLAMA)
        events = watcher.read_loads()
        watcher.close()
    finally:
        stop(server)
    assert events[-1][0] == "model_load_completed"
    check_truth(events)


def test_a_real_load_by_fan_out(empty_server: Server) -> None:
    watcher = RawWatcher(empty_server.port)
    watcher.subscribe(LLAMA)
    empty_server.load(LLAMA)
    events = watcher.read_loads()
    watcher.close()
    check_truth(events)
    assert events[-1][1] == empty_server.snapshot(LLAMA)
