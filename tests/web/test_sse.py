"""Server-sent events: the same events as in the Socket.IO room, replayed after the last one read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import requests

from tests.support.ids import LLAMA
from tests.support.server import Server
from tests.support.truth import check_truth, kept
from tests.support.types import Watch


def _read(server: Server, load_id: str, last: str = "") -> Iterator[tuple[str, str, dict[str, Any]]]:
    headers = {"Last-Event-ID": last} if last else {}
    url = f"{server.url}/api/loads/{load_id}/events"
    with requests.get(url, headers=headers, stream=True, timeout=60) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        fields: dict[str, str] = {}
        for line in response.iter_lines(chunk_size=1, decode_unicode=True):
            name, _, value = line.partition(": ")
            if line:
                fields[name] = value
            elif "data" in fields:
                yield fields["id"], fields["event"], json.loads(fields["data"])
                fields = {}


def test_a_stream_has_the_events_of_the_room_and_ends_with_the_load(
    empty_server: Server, watch: Watch
) -> None:
    watcher = watch(empty_server)
    watcher.subscribe(LLAMA)
    worker = empty_server.freeze_load(LLAMA)
    stream = _read(empty_server, empty_server.snapshot(LLAMA)["load_id"])
    first = next(stream)
    worker.resume()
    events = [first, *stream]
    watcher.wait_for("model_load_completed")
    streamed = [(name, payload) for _, name, payload in events]
    assert kept(streamed) == kept(watcher.events)
    check_truth(streamed)


def test_a_reader_continues_after_the_last_event_it_read(empty_server: Server) -> None:
    load_id = empty_server.load(LLAMA)["load_id"]
    events = list(_read(empty_server, load_id))
    middle = len(events) // 2
    assert list(_read(empty_server, load_id, last=events[middle][0])) == events[middle + 1 :]
    assert list(_read(empty_server, load_id, last="another-run:7")) == events


def test_a_load_that_has_ended_has_no_more_events(empty_server: Server) -> None:
    load_id = empty_server.load(LLAMA)["load_id"]
    *_, (last, _, _) = _read(empty_server, load_id)
    url = f"/api/loads/{load_id}/events"
    assert empty_server.get(url, headers={"Last-Event-ID": last}).status_code == 204


def test_a_load_that_waits_is_streamed_from_its_position_in_the_queue(empty_server: Server) -> None:
    worker = empty_server.freeze_load(LLAMA)
    stream = _read(empty_server, empty_server.request_load("tiny/bert")["load_id"])
    name, payload = next(stream)[1:]
    assert (name, payload["queue_position"]) == ("model_load_queued", 1)
    worker.resume()
    assert [name for _, name, _ in stream][-1] == "model_load_completed"


def test_a_load_that_fails_ends_its_stream_with_the_reason(empty_server: Server) -> None:
    load_id = empty_server.load("tiny/too-big")["load_id"]
    *_, (_, name, payload) = _read(empty_server, load_id)
    assert (name, payload["error"]["code"]) == ("model_load_failed", "no_memory")


def test_a_load_that_fails_late_ends_a_stream_that_is_being_read(empty_server: Server) -> None:
    worker = empty_server.freeze_begun(LLAMA)
    stream = _read(empty_server, empty_server.snapshot(LLAMA)["load_id"])
    assert next(stream)[1] == "model_load_started"
    worker.kill()
    *_, (_, name, payload) = stream
    assert (name, payload["error"]["code"]) == ("model_load_failed", "killed")


def test_a_load_that_is_cancelled_ends_its_stream(empty_server: Server) -> None:
    empty_server.freeze_load(LLAMA)
    load_id = empty_server.snapshot(LLAMA)["load_id"]
    stream = _read(empty_server, load_id)
    assert next(stream)[1] == "model_load_started"
    empty_server.delete(f"/api/loads/{load_id}")
    *_, (_, name, payload) = stream
    assert (name, payload["by"]) == ("model_load_cancelled", "rest")
