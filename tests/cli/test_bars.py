"""The bars on a real pseudo-terminal."""

from __future__ import annotations

from modelhub.core.outlook import outlook_of
from modelhub.outlook_wording import expected
from tests.support.ids import BERT, LLAMA
from tests.support.server import Server
from tests.support.types import StartServer, StartTerminal


def test_a_bar_per_model_then_a_lasting_line_and_a_summary(
    empty_server: Server, terminal: StartTerminal
) -> None:
    worker = empty_server.freeze_load(LLAMA)
    running = terminal(empty_server.environ, "preload", LLAMA, BERT)
    running.wait_for("━━━━")
    running.wait_for("Step ")
    running.wait_for("Next in the queue")
    running.wait_for(f"  {_expected(empty_server)}")
    worker.resume()
    assert running.wait() == 0
    for model_id in (LLAMA, BERT):
        assert f"{model_id}  Ready in " in running.output
    last = running.output[running.output.rindex("Weights") :]
    assert "models folder" in last
    assert "━" not in last, "no bar is left behind"


def _expected(server: Server) -> str:
    """How long the load under way will take, in words, by what the server has written down of it."""
    load, *earlier = server.get("/api/loads", params={"model": LLAMA, "limit": 20}).json()["loads"]
    outlook = outlook_of(load, earlier)
    assert outlook is not None
    text = expected(outlook)
    return f"{text[:1].upper()}{text[1:]}"


def test_a_bar_shows_a_stall(start_server: StartServer, terminal: StartTerminal) -> None:
    server = start_server(STALL_SECONDS=1).wait_warm()
    worker = server.freeze_load(LLAMA)
    running = terminal(server.environ, "preload", LLAMA)
    running.wait_for("No progress for ")
    worker.resume()
    assert running.wait() == 0


def test_a_failure_is_printed_with_reason_and_hint(empty_server: Server, terminal: StartTerminal) -> None:
    running = terminal(empty_server.environ, "preload", "no/such-model")
    assert running.wait() == 1
    error = empty_server.snapshot("no/such-model")["error"]
    said = " ".join(running.output.split())
    assert f"no/such-model Failed at step 1 of 9: {error['message']} {error['hint']}" in said
    assert "\x1b[31m" in running.raw, "in red"
