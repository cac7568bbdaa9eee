"""Order and gaps without a connection; then cuts and restarts of a real one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelhub.cli.feed import Feed, Sequence
from modelhub.errors import ModelhubError
from tests.support.ids import LLAMA
from tests.support.server import Server, wait_until
from tests.support.terminal import lines_of
from tests.support.types import Run, StartServer
from tests.support.wire import Wire


def event(seq: int, epoch: str = "one") -> dict[str, Any]:
    return {"epoch": epoch, "seq": seq}


@pytest.fixture
def sequence() -> Sequence:
    made = Sequence()
    made.restart(event(4))
    return made


def receive(sequence: Sequence, seq: int, now: float = 0.0) -> list[int]:
    return [payload["seq"] for _, payload in sequence.receive("e", event(seq), now)]


def test_the_next_event_is_returned_and_an_old_one_is_not_returned_again(sequence: Sequence) -> None:
    assert [receive(sequence, seq) for seq in (5, 5, 3, 6)] == [[5], [], [], [6]]
    assert not sequence.is_broken(100.0)


def test_an_event_that_overtook_another_waits_for_it(sequence: Sequence) -> None:
    assert receive(sequence, 6, now=0.0) == []
    assert not sequence.is_broken(0.1)
    assert receive(sequence, 5, now=0.1) == [5, 6]
    assert not sequence.is_broken(100.0)


def test_a_gap_needs_a_snapshot_and_older_events_are_dropped(sequence: Sequence) -> None:
    assert receive(sequence, 7, now=0.0) == []
    assert sequence.is_broken(1.0)
    sequence.restart(event(8))
    assert not sequence.is_broken(1.0)
    assert [receive(sequence, seq) for seq in (7, 8, 9)] == [[], [], [9]]


def test_where_events_are_left_out_each_newer_one_is_taken(sequence: Sequence) -> None:
    sequence.may_skip = True
    assert [receive(sequence, seq) for seq in (7, 6, 7, 20)] == [[7], [], [], [20]]
    assert not sequence.is_broken(100.0)


def test_a_new_epoch_needs_a_snapshot_at_once(sequence: Sequence) -> None:
    assert sequence.receive("e", event(5, "two"), 0.0) == []
    assert sequence.is_broken(0.0)
    sequence.restart(event(1, "two"))
    assert [p["seq"] for _, p in sequence.receive("e", event(2, "two"), 0.0)] == [2]


def test_a_load_that_ends_during_a_cut_is_reported_after_it(
    empty_server: Server, wire: Wire, run: Run
) -> None:
    worker = empty_server.freeze_load(LLAMA)
    running = run(empty_server.environ, "preload", LLAMA, "--server", wire.url)
    running.wait_for("Step ")
    wire.cut()
    running.wait_for("The connection to the server is lost; trying again.")
    worker.resume()
    empty_server.wait_state(LLAMA, ("ready",))
    wire.mend()
    assert running.wait() == 0
    assert "Connected again." in running.output
    assert lines_of(running.output, LLAMA)[-1].startswith("Ready in ")


def test_a_load_is_followed_again_after_a_cut(empty_server: Server, wire: Wire, run: Run) -> None:
    worker = empty_server.freeze_load(LLAMA)
    running = run(empty_server.environ, "preload", "--json", LLAMA, "--server", wire.url)
    running.wait_for('"state":"loading"')
    wire.cut()
    running.wait_for("trying again")
    wire.mend()
    running.wait_for("Connected again.")
    wait_until(lambda: running.output.count('"event":"snapshot"') >= 2)
    worker.resume()
    assert running.wait() == 0
    printed = running.events
    progress = [payload["progress"] for name, payload in printed if name != "result"]
    assert progress == sorted(progress)
    assert printed[-2][0] == "model_load_completed"


def test_a_load_interrupted_by_a_restart_of_the_server_is_reported(
    start_server: StartServer, run: Run
) -> None:
    server = start_server().wait_warm()
    server.freeze_load(LLAMA)
    running = run(server.environ, "preload", LLAMA)
    running.wait_for("Step ")
    server.kill()
    running.wait_for("The connection to the server is lost; trying again.")
    server.start()
    assert running.wait() == 1
    assert lines_of(running.output, LLAMA)[-1] == (
        "Interrupted: The server stopped while tiny/llama was loading. "
        "Load it again: what was downloaded is kept."
    )


def test_a_server_that_is_stopped_is_reported_before_the_connection_is_lost(
    start_server: StartServer, run: Run
) -> None:
    server = start_server().wait_warm()
    frozen = server.freeze_load(LLAMA)
    running = run(server.environ, "preload", LLAMA)
    running.wait_for("Step ")
    server.stop()
    running.wait_for("The server is shutting down.")
    assert "The connection to the server is lost" not in running.output.split("The server is shutting")[0]
    server.start()
    assert running.wait() == 1
    assert lines_of(running.output, LLAMA)[-1].startswith("Interrupted")
    frozen.wait(10)


def test_the_feed_gives_up_on_a_server_that_stays_away(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server()
    with Feed(server.url, patience_s=0.1) as feed:
        feed.watch(LLAMA)
        news = feed.news()
        assert next(news)[0] == "snapshot"
        server.kill()
        assert "connection_lost" in (name for name, _ in news)
        with pytest.raises(ModelhubError, match="No modelhub server responds"):
            next(news)
