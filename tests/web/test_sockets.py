"""Rooms over real WebSockets: snapshots, late joiners, lost connections, several clients."""

from __future__ import annotations

from contextlib import suppress

import pytest
import socketio

from modelhub.web.pages.live import page_snapshot
from tests.support.ids import BERT, LLAMA
from tests.support.rawsocket import RawWatcher
from tests.support.server import Server
from tests.support.truth import check_truth, kept
from tests.support.types import Watch


def test_a_late_joiner_gets_the_state_and_then_every_event(empty_server: Server, watch: Watch) -> None:
    first = watch(empty_server)
    first.subscribe(LLAMA)
    worker = empty_server.freeze_load(LLAMA)
    late = watch(empty_server)
    snapshot = late.subscribe(LLAMA)["snapshot"]
    assert snapshot["state"] == "loading"
    assert snapshot["seq"] >= 1
    worker.resume()
    ends = [watcher.wait_for("model_load_completed") for watcher in (first, late)]
    assert ends[0] == ends[1] == empty_server.snapshot(LLAMA)
    later = [event for event in kept(first.events) if event[1]["seq"] > snapshot["seq"]]
    assert later == [event for event in late.events if event in later]
    check_truth(first.events, with_gaps=True)


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_after_a_lost_connection_the_snapshot_is_complete(
    empty_server: Server, watch: Watch, transport: str
) -> None:
    watcher = watch(empty_server, transport)
    watcher.subscribe(LLAMA)
    worker = empty_server.freeze_load(LLAMA)
    watcher.wait_for("model_load_started")
    watcher.close()
    worker.resume()
    ready = empty_server.wait_state(LLAMA, ("ready",))
    back = watch(empty_server, transport)
    snapshot = back.subscribe(LLAMA)["snapshot"]
    assert snapshot == ready
    assert snapshot["seq"] > watcher.events[-1][1]["seq"]
    assert snapshot["epoch"] == watcher.events[-1][1]["epoch"]


def test_several_tabs_agree(empty_server: Server, watch: Watch) -> None:
    tabs = [watch(empty_server) for _ in range(4)]
    for tab in tabs:
        tab.subscribe(BERT)
    empty_server.request_load(BERT)
    for tab in tabs:
        tab.wait_for("model_load_completed")
    assert all(kept(tab.events) == kept(tabs[0].events) for tab in tabs)


def test_the_dashboard_gets_events_of_every_model_and_a_room_only_its_own(
    empty_server: Server, watch: Watch
) -> None:
    dashboard, room, both = watch(empty_server), watch(empty_server), watch(empty_server)
    reply = dashboard.subscribe()
    assert {LLAMA, BERT} <= {model["id"] for model in reply["snapshot"]["models"]}
    room.subscribe(BERT)
    both.subscribe()
    both.subscribe(BERT)
    empty_server.load(LLAMA)
    empty_server.load(BERT)
    for watcher in (dashboard, room, both):
        watcher.wait_for("model_load_completed", model_id=BERT)
    assert dashboard.of(LLAMA)
    assert not room.of(LLAMA)
    events = [kept(of_bert) for of_bert in (both.of(BERT), dashboard.of(BERT), room.events)]
    assert events[0] == events[1] == events[2], "sent once to a client in both rooms"


def test_pages_get_the_same_events_with_words(empty_server: Server, watch: Watch) -> None:
    plain, page, dashboard = watch(empty_server), watch(empty_server), watch(empty_server)
    plain.subscribe(BERT)
    snapshot = page.client.call("subscribe", {"id": BERT, "words": True}, timeout=5)["snapshot"]
    charts, prepared = snapshot.pop("charts"), snapshot.pop("prepared")
    assert prepared is False
    assert snapshot == page_snapshot(empty_server.snapshot(BERT))
    assert charts == {"segments": None, "sparkline": "", "sparkline_label": "No rate yet"}
    models = dashboard.client.call("subscribe", {"words": True}, timeout=5)["snapshot"]["models"]
    assert all("words" in model["snapshot"] for model in models)
    empty_server.request_load(BERT)
    for watcher in (plain, page, dashboard):
        watcher.wait_for("model_load_completed", model_id=BERT)
    assert not any("words" in payload for _, payload in plain.events)
    with_words = [(name, page_snapshot(payload)) for name, payload in kept(plain.events)]
    assert kept(dashboard.of(BERT)) == with_words
    drawn = [payload.pop("charts") for _, payload in page.of(BERT)]
    assert not any(payload.pop("prepared") for _, payload in page.of(BERT))
    assert kept(page.of(BERT)) == with_words, "the page of a model gets the same, and its charts"
    assert all(len(charts["segments"]) == 9 for charts in drawn)
    assert page.client.call("unsubscribe", {"id": BERT}, timeout=5) == {"ok": True}
    empty_server.delete(f"/api/models/{BERT}")
    dashboard.wait_for("model_unloaded", model_id=BERT)
    assert "model_unloaded" not in page.names()


def test_only_rooms_of_known_models_can_be_joined(server: Server, watch: Watch) -> None:
    watcher = watch(server)
    for unknown, code in [("nobody/never-requested", "unknown_model"), ("../x", "invalid_id")]:
        reply = watcher.subscribe(unknown)
        assert (reply["ok"], reply["error"]["code"]) == (False, code)
    for invalid in ("text", {"id": 7}, ["x"], {"id": None}):
        reply = watcher.client.call("subscribe", invalid, timeout=5)
        assert (reply["ok"], reply["error"]["code"]) == (False, "invalid_request")


def test_a_client_that_unsubscribes_gets_no_more_events(empty_server: Server, watch: Watch) -> None:
    leaver, stayer = watch(empty_server), watch(empty_server)
    for watcher in (leaver, stayer):
        watcher.subscribe(BERT)
    assert leaver.client.call("unsubscribe", {"id": BERT}, timeout=5) == {"ok": True}
    empty_server.request_load(BERT)
    stayer.wait_for("model_load_completed")
    assert leaver.events == []


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Host": "evil.example"}])
def test_a_connection_of_another_site_is_refused(server: Server, headers: dict[str, str]) -> None:
    client = socketio.Client(reconnection=False)
    with pytest.raises(socketio.exceptions.ConnectionError):
        client.connect(server.url, headers=headers, transports=["websocket"], wait_timeout=3)


@pytest.mark.parametrize("packet", [b"42[", b"4x", b"42{}", b"45-", b"4", b"7", b"42" + b"[" * 100])
def test_the_third_packet_that_cannot_be_read_ends_the_connection(server: Server, packet: bytes) -> None:
    watcher = RawWatcher(server.port)
    for _ in range(2):
        watcher.send(packet)
    assert watcher.subscribe(LLAMA)["ok"]  # both were read before
    watcher.send(packet)
    assert watcher.ended(5)
    watcher.close()


def test_many_packets_that_cannot_be_read_are_one_line_of_the_log(empty_server: Server) -> None:
    read = len(empty_server.log())
    for _ in range(20):
        watcher = RawWatcher(empty_server.port)
        for _ in range(20):
            with suppress(OSError):
                watcher.send(b"42[")
        assert watcher.ended(5)
        watcher.close()
    assert empty_server.get("/livez").ok
    assert empty_server.log()[read:].count("\n") <= 1
