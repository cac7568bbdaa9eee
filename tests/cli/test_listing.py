"""flask models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from modelhub import units
from tests.support import models
from tests.support.ids import BERT, LLAMA
from tests.support.server import Server
from tests.support.terminal import flask
from tests.support.truth import check_truth
from tests.support.types import Run, StartServer, StartTerminal


def row(output: str, model_id: str) -> str:
    (found,) = [line for line in output.splitlines() if line.startswith(f"{model_id} ")]
    return " ".join(found.split())


def test_the_table_has_state_size_source_and_memory(empty_server: Server) -> None:
    ready = empty_server.load(BERT)
    empty_server.freeze_load(LLAMA)
    done = flask(empty_server.environ, "models")
    assert (done.returncode, done.stderr) == (0, "")
    held = units.size(ready["memory"])
    assert row(done.stdout, BERT).startswith(
        f"{BERT} Ready 310 kB models folder {held} of memory · Idle since "
    )
    assert row(done.stdout, LLAMA).startswith(f"{LLAMA} Loading 233 kB models folder ")
    assert "% · Step " in row(done.stdout, LLAMA)
    assert row(done.stdout, "demo/random-0.1gb") == (
        "demo/random-0.1gb Not loaded 103 MB made by modelhub, random weights"
    )


def test_json_is_what_rest_returns(empty_server: Server) -> None:
    done = flask(empty_server.environ, "models", "--json")
    assert json.loads(done.stdout) == empty_server.get("/api/models").json()


def test_watching_on_a_terminal_shows_a_new_load_and_ends_with_ctrl_c(
    start_server: StartServer, terminal: StartTerminal
) -> None:
    own = start_server().wait_warm()  # its table fits on the screen
    running = terminal(own.environ, "models", "--watch")
    running.wait_for("Not loaded")
    own.request_load(LLAMA)
    running.wait_for(" of memory")
    running.interrupt()
    assert running.wait() == 0
    assert "Traceback" not in running.output


def test_what_needs_attention_is_watched_first_and_the_rest_counted(
    start_server: StartServer, terminal: StartTerminal, tmp_path: Path
) -> None:
    first = models.make_llama(tmp_path / "models" / "many" / "model-00")
    for number in range(1, 60):  # more than there is room for in 40 lines
        shutil.copytree(first, first.with_name(f"model-{number:02}"))
    own = start_server(MODELS_DIR=tmp_path / "models").wait_warm()
    running = terminal(own.environ, "models", "--watch")
    running.wait_for("more: 'flask models' lists all")
    running.wait_for(" free")
    assert "many/model-59" not in running.output
    own.load("many/model-59")
    running.wait_for("many/model-59")
    running.wait_for("in 1 model")
    running.interrupt()
    assert running.wait() == 0


def test_watching_as_json_is_the_stream_of_all_models(empty_server: Server, run: Run) -> None:
    running = run(empty_server.environ, "models", "--watch", "--json")
    running.wait_for('"event":"snapshot"')
    empty_server.load(LLAMA)
    running.wait_for("model_load_completed")
    running.interrupt()
    assert running.wait() == 0
    check_truth([pair for pair in running.events if pair[0] != "snapshot"])


def test_a_model_that_was_not_listed_appears_while_watching(empty_server: Server, run: Run) -> None:
    running = run(empty_server.environ, "models", "--watch")
    running.wait_for(f"Watching the models of {empty_server.url}.")
    empty_server.load("no/new-model")
    running.wait_for("no/new-model  Failed at step 1 of 9")
    running.interrupt()
    assert running.wait() == 0


def test_what_cannot_be_loaded_is_listed_as_such(start_server: StartServer, tmp_path: Path) -> None:
    (tmp_path / "own" / "q" / "x").mkdir(parents=True)
    (tmp_path / "own" / "q" / "x" / "x.gguf").write_text("x")
    listed = flask(start_server(MODELS_DIR=tmp_path / "own").environ, "models").stdout
    assert row(listed, "q/x").startswith("q/x Cannot be loaded models folder q/x has GGUF weights")


def test_a_folder_that_comes_while_watching_appears(
    start_server: StartServer, terminal: StartTerminal, tmp_path: Path
) -> None:
    (tmp_path / "own").mkdir()
    running = terminal(start_server(MODELS_DIR=tmp_path / "own").environ, "models", "--watch")
    running.wait_for("Not loaded")
    models.make_llama(tmp_path / "made" / "late").rename(tmp_path / "own" / "late")
    running.wait_for("late ")
    running.interrupt()
    assert running.wait() == 0
    assert "Traceback" not in running.output
