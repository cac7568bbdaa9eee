"""Ctrl-C while loads are followed."""

from __future__ import annotations

import pytest

from tests.support.ids import BERT, LLAMA
from tests.support.server import Server
from tests.support.terminal import CTRL_C, Terminal
from tests.support.types import Run, StartTerminal

QUESTION = "Cancel tiny/llama, tiny/bert? Otherwise it continues in the server. [y/N]: "


@pytest.fixture
def interrupted(empty_server: Server, terminal: StartTerminal) -> Terminal:
    """A terminal with two loads, one running and one waiting, that has been interrupted."""
    empty_server.freeze_load(LLAMA)
    running = terminal(empty_server.environ, "preload", LLAMA, BERT)
    running.wait_for("Step ")
    running.wait_for("Next in the queue")
    running.interrupt()
    running.wait_for(QUESTION)
    return running


@pytest.mark.parametrize("answer", ["\n", "n\n", CTRL_C])
def test_by_default_the_loads_continue_in_the_server(
    empty_server: Server, interrupted: Terminal, answer: str
) -> None:
    interrupted.type(answer)
    assert interrupted.wait() == 130
    assert "tiny/llama, tiny/bert: the load continues in the server" in interrupted.output
    assert [empty_server.snapshot(m)["state"] for m in (LLAMA, BERT)] == ["loading", "queued"]


def test_yes_cancels_them_and_reports_it(empty_server: Server, interrupted: Terminal) -> None:
    interrupted.type("y\n")
    assert interrupted.wait() == 130
    assert interrupted.output.count("Cancelled from the command line") == 2
    assert [empty_server.snapshot(m)["state"] for m in (LLAMA, BERT)] == ["cancelled", "cancelled"]
    assert "Traceback" not in interrupted.output


def test_without_a_terminal_there_is_no_question(empty_server: Server, run: Run) -> None:
    worker = empty_server.freeze_load(LLAMA)
    running = run(empty_server.environ, "preload", LLAMA)
    running.wait_for("Step ")
    running.interrupt()
    assert running.wait() == 130
    assert "tiny/llama: the load continues in the server." in running.output
    worker.resume()
    assert empty_server.wait_state(LLAMA, ("ready",))["state"] == "ready"
