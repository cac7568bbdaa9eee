"""modelhub copies, on a server that is no cluster; what copies are is in ``core.test_replicas``."""

from __future__ import annotations

from tests.support.ids import BERT, LLAMA
from tests.support.server import Server
from tests.support.terminal import completions, flask


def test_copies_are_refused_in_words_where_there_is_no_other_node(empty_server: Server) -> None:
    empty_server.load(LLAMA)
    done = flask(empty_server.environ, "copies", LLAMA, "2")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[0] == f"There is no other node for a copy of {LLAMA}."
    one = flask(empty_server.environ, "copies", LLAMA, "1")
    assert (one.returncode, one.stdout) == (0, f"{LLAMA}\n"), "it has that many"
    assert flask(empty_server.environ, "copies", LLAMA, "0").returncode == 2
    away = flask(empty_server.environ, "copies", BERT, "2")
    assert away.returncode == 1
    assert away.stderr.splitlines()[0].endswith(": It is not in memory.")
    assert completions(empty_server.environ, "copies", "") == [LLAMA]
