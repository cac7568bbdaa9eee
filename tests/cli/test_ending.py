"""flask unload and flask cancel, with several ids."""

from __future__ import annotations

import os

from modelhub import units
from tests.support.ids import BERT, LLAMA, VIT
from tests.support.prepared import KEEP, is_prepared, prepare
from tests.support.server import Server
from tests.support.terminal import completions, flask
from tests.support.types import StartServer

AWAY = {**os.environ, "MODELHUB_SERVER": "http://127.0.0.1:9"}


def test_unload_prints_the_receipt_of_each_model(empty_server: Server) -> None:
    for model_id in (LLAMA, BERT):
        empty_server.load(model_id)
    done = flask(empty_server.environ, "unload", LLAMA, BERT, LLAMA)
    freed = [units.size(empty_server.snapshot(model_id)["freed"]) for model_id in (LLAMA, BERT)]
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"{LLAMA} unloaded: {freed[0]} freed",
        f"{BERT} unloaded: {freed[1]} freed",
    ]


def test_a_model_that_is_not_in_memory_fails_the_command_and_the_others_are_unloaded(
    empty_server: Server,
) -> None:
    empty_server.load(BERT)
    done = flask(empty_server.environ, "unload", LLAMA, BERT)
    assert done.returncode == 1
    assert done.stdout.startswith(f"{BERT} unloaded: ")
    assert done.stderr.splitlines() == [f"{LLAMA} is absent: It is not in memory.", "Load it first."]
    assert empty_server.snapshot(BERT)["state"] == "absent"


def test_unload_completes_loaded_models_only(empty_server: Server) -> None:
    empty_server.load(BERT)
    empty_server.freeze_load(LLAMA)
    assert completions(empty_server.environ, "unload", "") == [BERT]
    assert completions(AWAY, "unload", "") == []


def test_unload_lets_go_of_a_model_that_is_only_prepared(start_server: StartServer) -> None:
    server = start_server(**KEEP).wait_warm()
    prepare(server, BERT)
    listed = flask(server.environ, "models").stdout.splitlines()
    assert " ".join(next(line for line in listed if line.startswith(BERT)).split()) == (
        f"{BERT} Not loaded 310 kB models folder prepared: loads sooner"
    )
    done = flask(server.environ, "unload", BERT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{BERT} let go: it was prepared, not in memory\n"
    assert not is_prepared(server, BERT)
    assert flask(server.environ, "unload", BERT).stderr.startswith(f"{BERT} is absent: It is not in memory.")


def test_cancel_ends_loads_that_run_or_wait(empty_server: Server) -> None:
    empty_server.freeze_load(LLAMA)
    for model_id in (BERT, VIT):
        empty_server.request_load(model_id)
    assert set(completions(empty_server.environ, "cancel", "")) == {LLAMA, BERT, VIT}
    done = flask(empty_server.environ, "cancel", LLAMA, BERT, VIT)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [VIT, BERT, LLAMA], "none starts only to be cancelled"
    assert lines[-1].startswith(f"{LLAMA} Cancelled from the command line. At step ")
    for model_id in (LLAMA, BERT, VIT):
        assert empty_server.snapshot(model_id)["state"] == "cancelled"


def test_cancelling_what_is_not_being_loaded_fails_with_a_hint(empty_server: Server) -> None:
    empty_server.load(LLAMA)
    done = flask(empty_server.environ, "cancel", LLAMA, BERT)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{LLAMA} is ready: It is neither waiting nor loading." in done.stderr
    assert "'flask models' shows what each model is doing." in done.stderr
    assert empty_server.snapshot(LLAMA)["state"] == "ready"
