"""Loads that are stalled for a known reason: the events say which, and so do the words."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from modelhub import wording
from modelhub.payloads import Snapshot
from tests.support import models
from tests.support.hub_server import HubServer
from tests.support.ids import LLAMA
from tests.support.resident import drop
from tests.support.server import ROOT, Server
from tests.support.truth import check_truth
from tests.support.types import StartServer, Watch
from tests.support.watcher import Watcher

STUCK_READER = Path(__file__).parents[1] / "support" / "stuck_reader"


def subscribed(watch: Watch, server: Server, model_id: str | None = None) -> Watcher:
    watcher = watch(server)
    watcher.subscribe(model_id)
    return watcher


def wait_stalled(watcher: Watcher, cause: str) -> tuple[dict[str, Any], str]:
    """Wait until the newest event says that the load is stalled by ``cause``: the event, and its words."""
    watcher.wait_until(lambda events: events and events[-1][1]["stall_cause"] == cause, 30)
    event = next(payload for _, payload in reversed(watcher.events) if payload["stall_cause"] == cause)
    assert event["stalled_for"] >= 1
    return event, wording.describe(cast(Snapshot, event))["stalled"]


def check_end(watcher: Watcher) -> None:
    """The load ended well, and no event without a stall has a cause."""
    end = watcher.wait_for("model_load_completed", "model_load_failed")
    assert end["state"] == "ready", end["error"]
    assert end["stall_cause"] is None
    check_truth(watcher.events, with_gaps=True)
    assert not [p for _, p in watcher.events if p["stall_cause"] is not None and p["stalled_for"] is None]


def test_a_worker_that_is_stopped(start_server: StartServer, watch: Watch) -> None:
    server = start_server(STALL_SECONDS=1).wait_warm()
    watcher = subscribed(watch, server, LLAMA)
    worker = server.freeze_load(LLAMA)
    _, words = wait_stalled(watcher, "stopped")
    assert "Its process is stopped (SIGSTOP)" in words
    worker.resume()
    check_end(watcher)


def test_a_zygote_that_is_stopped_while_it_warms_up(start_server: StartServer, watch: Watch) -> None:
    server = start_server(STALL_SECONDS=1)
    watcher = subscribed(watch, server, LLAMA)
    server.request_load(LLAMA)
    watcher.wait_until(lambda events: events and (events[-1][1]["done"] or 0) > 200)
    zygote = server.zygote()
    zygote.suspend()
    event, _ = wait_stalled(watcher, "stopped")
    assert (event["step"], event["unit"]) == (1, "modules")
    zygote.resume()
    check_end(watcher)


def test_a_hub_that_sends_no_more(start_server: StartServer, watch: Watch, tmp_path: Path) -> None:
    models.make_sparse_llama(tmp_path / "hub" / "org/there", 40_000)
    with HubServer(tmp_path / "hub") as hub:
        hub.hold_after["model.safetensors"] = 3_000_000
        server = start_server({"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0"}, STALL_SECONDS=1).wait_warm()
        watcher = subscribed(watch, server)  # of a model that nothing is known of there are no events
        server.request_load("org/there")
        assert hub.holding.wait(60)
        event, words = wait_stalled(watcher, "network")
        assert event["step"] == 3
        assert "It probably waits for the network or the hub." in words
        hub.release.set()
        check_end(watcher)


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[Path]:
    """What the reader is stuck at; it goes on once this is not there."""
    path = tmp_path / "stuck"
    os.mkfifo(path)
    yield path
    release(path)


def release(fifo: Path) -> None:
    if fifo.exists():
        reads = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        writes = os.open(fifo, os.O_WRONLY)
        fifo.unlink()
        os.close(writes)
        os.close(reads)


@pytest.mark.parametrize(
    ("state", "cause", "likely"),
    [
        ("D", "disk", "It probably waits for the disk."),
        ("R", "processor", "It still computes; the processor is probably busy."),
    ],
)
def test_a_reading_that_is_stuck(
    start_server: StartServer,
    watch: Watch,
    fifo: Path,
    tmp_path: Path,
    state: str,
    cause: str,
    likely: str,
) -> None:
    drop(models.make_sparse_llama(tmp_path / "models" / "one", 40_000) / "model.safetensors")
    path = os.pathsep.join((str(STUCK_READER), str(ROOT)))
    environ = {"PYTHONPATH": path, "STUCK_AT": str(fifo), "STUCK_IN": state}
    server = start_server(environ, STALL_SECONDS=1, MODELS_DIR=tmp_path / "models").wait_warm()
    watcher = subscribed(watch, server, "one")
    server.request_load("one")
    event, words = wait_stalled(watcher, cause)
    assert event["step"] == 5
    assert likely in words
    release(fifo)
    check_end(watcher)
