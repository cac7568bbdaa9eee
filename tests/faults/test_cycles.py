"""Loads that are cancelled at any moment, and many that are unloaded again: everything is given back."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from itertools import islice

import pytest

from tests.support import models
from tests.support.cancelling import MODEL, cancel_at, cancels, resident, start_server, typical_seconds
from tests.support.ids import BERT, LLAMA
from tests.support.invariants import check_invariants
from tests.support.server import Server, wait_until
from tests.support.watcher import Watcher

_GROWTH = 1.02
_TOLD_S = 1.0


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a model whose load takes a while, and two tiny ones."""
    folder = tmp_path_factory.mktemp("cycles")
    models.make_llama(folder / "models" / LLAMA)
    models.make_bert(folder / "models" / BERT)
    server = start_server(folder)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def watchers(running: Server) -> Iterator[list[Watcher]]:
    """Three clients that watch the model."""
    opened = [Watcher(running.url) for _ in range(3)]
    for watcher in opened:
        watcher.subscribe(MODEL)
    yield opened
    for watcher in opened:
        watcher.close()


def check_memory(server: Server, before: dict[str, int]) -> None:
    """Wait until the processes that stay have no more memory than before."""

    def grown() -> dict[str, float]:
        return {name: size / before[name] for name, size in resident(server).items()}

    deadline = time.monotonic() + 5
    while max(grown().values()) > _GROWTH and time.monotonic() < deadline:
        time.sleep(0.1)
    assert max(grown().values()) <= _GROWTH, grown()


def check_log(server: Server) -> None:
    """The log has one line for the begin of each load and one for its end, and no others but of unloads."""
    lines = server.log().splitlines()
    assert [line for line in lines if " INFO modelhub" not in line] == []
    texts = [line.partition(" INFO modelhub.loads: ")[2] for line in lines]
    begun = [text for text in texts if text.startswith("Loading ")]
    ended = [text for text in texts if re.search(" is ready after | was cancelled ", text)]
    waited = [text for text in ended if "before its first step" in text]
    assert 0 < len(begun) == len(ended) - len(waited)
    asked = r"was cancelled (at step \d after \d.* m?s|before its first step) \(by (rest|cli|page)\)$"
    assert all(re.search(asked, text) for text in ended if " was cancelled " in text)


def test_a_cancel_at_any_moment_is_said_to_every_watcher_with_who_asked(
    running: Server, watchers: list[Watcher]
) -> None:
    seed = random.randrange(10**6)
    many = cancels(running, watchers, typical_seconds(running), random.Random(seed))
    list(islice(many, 12))  # until all is in memory that stays there
    before = resident(running)
    found = list(islice(many, 12))
    for cancel in found:
        assert cancel.said_by == (cancel.by,) * 3, f"{cancel}, seed {seed}"
        assert cancel.told_s < _TOLD_S, f"{cancel}, seed {seed}"
        assert cancel.gone_s < _TOLD_S, f"{cancel}, seed {seed}"
    check_memory(running, before)
    check_log(running)
    check_invariants(running)


def test_a_cancel_in_the_queue_is_said_too(running: Server, watchers: list[Watcher]) -> None:
    frozen = running.freeze_load(LLAMA)
    cancel = cancel_at(running, watchers, 0.0, "page", others=1)
    assert cancel is not None
    assert (cancel.step, cancel.said_by) == (None, ("page",) * 3)
    assert cancel.told_s < _TOLD_S
    running.delete(f"/api/loads/{running.snapshot(LLAMA)['load_id']}")
    wait_until(lambda: not frozen.is_running())
    check_log(running)
    check_invariants(running)


def test_fifty_loads_and_unloads_leave_memory_and_handles_as_they_were(running: Server) -> None:
    def cycle(model_id: str) -> None:
        assert running.load(model_id)["state"] == "ready"
        receipt = running.delete(f"/api/models/{model_id}").json()
        assert (receipt["state"], receipt["by"]) == ("absent", "rest")
        assert receipt["freed"] > 1_000_000
        assert receipt["memory_before"] > receipt["memory_after"] > 0

    for number in range(10):
        cycle((LLAMA, BERT)[number % 2])
    before, handles = resident(running), len(running.handles())
    for number in range(50):
        cycle((LLAMA, BERT)[number % 2])
    check_memory(running, before)
    wait_until(lambda: len(running.handles()) <= handles, 5)
    check_log(running)
    check_invariants(running)
