"""flask preload against a real server, piped: lines, JSON, exit codes."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import socketio

from modelhub.checkpoints import STEPS
from tests.support import models
from tests.support.ids import BERT, LLAMA, VIT
from tests.support.server import Server
from tests.support.terminal import completions, events, flask, lines_of
from tests.support.truth import check_truth
from tests.support.types import Run, StartServer


def test_a_line_per_step_and_the_end_in_words(empty_server: Server) -> None:
    done = flask(empty_server.environ, "preload", LLAMA)
    assert (done.returncode, done.stderr) == (0, "")
    lines = lines_of(done.stdout, LLAMA)
    steps = [line.split(" · ")[0] for line in lines if line.startswith("Step ")]
    assert list(dict.fromkeys(steps)) == [f"Step {s.step} of 9: {s.message}" for s in STEPS]
    assert lines[0].startswith(("Loads in ", "Loaded in ", "Time not known yet: "))
    assert [line for line in lines if line.startswith(("Load", "Time"))] == lines[:1]
    assert lines[-1].startswith("Ready in ")
    assert lines[-1].endswith("233 kB · cpu · bfloat16")
    assert "models folder" in done.stdout.splitlines()[-1], "the summary says where from"
    assert empty_server.snapshot(LLAMA)["state"] == "ready"


def test_two_models_are_followed_at_once_each_by_its_own_name(empty_server: Server) -> None:
    done = flask(empty_server.environ, "preload", LLAMA, BERT, LLAMA)
    assert done.returncode == 0, done.stdout + done.stderr
    for model_id in (LLAMA, BERT):
        lines = lines_of(done.stdout, model_id)
        assert lines[-1].startswith("Ready in ")
        assert len([line for line in lines if line.startswith("Step 6")]) == 1
    assert len(empty_server.get("/api/loads?limit=2").json()["loads"]) == 2
    assert {load["by"] for load in empty_server.get("/api/loads?limit=2").json()["loads"]} == {"cli"}


def test_a_model_that_is_ready_already_is_reported_so(empty_server: Server) -> None:
    empty_server.load(LLAMA)
    done = flask(empty_server.environ, "preload", LLAMA)
    assert done.returncode == 0
    assert [line.split(" in ")[0] for line in lines_of(done.stdout, LLAMA)] == ["Ready already, loaded"]


def test_json_is_the_stream_of_events_and_true_by_the_rules(empty_server: Server) -> None:
    done = flask(empty_server.environ, "preload", "--json", LLAMA, BERT)
    assert done.returncode == 0, done.stderr
    printed = events(done.stdout)
    for model_id in (LLAMA, BERT):
        mine = [(name, payload) for name, payload in printed if payload["id"] == model_id]
        check_truth([pair for pair in mine if pair[0] != "result"])
        (result,) = [payload for name, payload in mine if name == "result"]
        assert mine[-1] == ("result", result)
        assert (result["state"], result["error"], result["source"]) == ("ready", None, "folder")
        assert result["bytes"] == empty_server.snapshot(model_id)["bytes"] > 0


def test_a_device_and_a_data_type_can_be_chosen(empty_server: Server) -> None:
    done = flask(empty_server.environ, "preload", "--dtype", "float32", "--device", "cpu", LLAMA)
    assert done.returncode == 0, done.stdout + done.stderr
    assert lines_of(done.stdout, LLAMA)[-1].endswith(" · cpu · float32")
    other = flask(empty_server.environ, "preload", "--dtype", "bfloat16", LLAMA)
    assert other.returncode == 1
    assert f"{LLAMA} is ready: Its data type is float32, not bfloat16. Unload it first." in other.stdout
    assert completions(empty_server.environ, "preload", "--device", "c")[0] == "cpu"


def test_a_load_can_replace_models(empty_server: Server) -> None:
    for model_id in (BERT, VIT):
        empty_server.load(model_id)
    done = flask(empty_server.environ, "preload", LLAMA, "--replace", BERT, "--replace", VIT)
    assert done.returncode == 0, done.stdout + done.stderr
    states = [empty_server.wait_state(name, ("absent", "ready"))["state"] for name in (LLAMA, BERT, VIT)]
    assert states == ["ready", "absent", "absent"]
    assert set(completions(empty_server.environ, "preload", BERT, "--replace", "")) == {LLAMA}
    here = flask(empty_server.environ, "preload", "--here", LLAMA, "--replace", BERT)
    assert "--here uses no server: omit --server, --replace and --no-wait." in here.stderr


def test_one_failure_fails_the_command_with_reason_and_hint(empty_server: Server) -> None:
    done = flask(empty_server.environ, "preload", "no/such-model", LLAMA)
    assert done.returncode == 1
    error = empty_server.snapshot("no/such-model")["error"]
    assert lines_of(done.stdout, "no/such-model")[-1] == (
        f"Failed at step 1 of 9: {error['message']} {error['hint']}"
    )
    assert lines_of(done.stdout, LLAMA)[-1].startswith("Ready in ")


def test_a_load_cancelled_elsewhere_fails_the_command(empty_server: Server, run: Run) -> None:
    empty_server.freeze_load(LLAMA)
    running = run(empty_server.environ, "preload", LLAMA)
    running.wait_for("Step ")
    empty_server.delete(f"/api/loads/{empty_server.snapshot(LLAMA)['load_id']}")
    assert running.wait() == 1
    assert lines_of(running.output, LLAMA)[-1].startswith("Cancelled over the API. At step ")


def test_no_wait_requests_the_loads_and_exits(empty_server: Server) -> None:
    worker = empty_server.freeze_load(BERT)
    done = flask(empty_server.environ, "preload", "--no-wait", LLAMA, BERT)
    assert done.returncode == 0, done.stderr
    assert lines_of(done.stdout, LLAMA) == ["Accepted: Queued"]
    assert lines_of(done.stdout, BERT) == ["Accepted: Loading"]
    worker.resume()
    assert empty_server.wait_state(LLAMA, ("ready",))["state"] == "ready"


@pytest.mark.parametrize("model_id", ["../etc", "a b", "a/b/c", "x\x1b[31m", "-x/y"])
@pytest.mark.parametrize("command", ["preload", "unload"])
def test_an_invalid_id_is_refused_before_any_request(command: str, model_id: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        done = flask(dict(os.environ), command, "--server", url, "--", model_id)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert done.returncode == 2
    assert "is not a model id." in done.stderr
    assert "Write name or org/name" in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["preload", LLAMA], ["models"], ["models", "--watch"], ["unload", LLAMA, BERT], ["cancel", LLAMA]],
)
def test_no_server_is_an_error_with_a_hint(arguments: list[str]) -> None:
    done = flask(dict(os.environ), *arguments, "--server", "http://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "No modelhub server responds at http://127.0.0.1:9.",
        "Start one with 'modelhub serve' or 'python wsgi.py', or give its address with --server.",
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["preload"],
        ["preload", "--here", "--server", "http://127.0.0.1:9", LLAMA],
        ["preload", "--here", "--replace", BERT, LLAMA],
        ["preload", "--server", "127.0.0.1:9", LLAMA],
        ["preload", "--device", "tpu", LLAMA],
        ["preload", "--dtype", "int8", LLAMA],
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    done = flask(dict(os.environ), *arguments)
    assert done.returncode == 2
    assert "Usage: flask preload" in done.stderr


def test_a_bad_setting_is_an_error_with_a_message() -> None:
    done = flask({**os.environ, "MODELHUB_PORT": "many"}, "models")
    assert done.returncode == 2
    assert done.stderr.startswith("The setting MODELHUB_PORT cannot be 'many'.")


def test_the_server_is_the_one_of_the_setting_or_of_the_option(empty_server: Server) -> None:
    environ = {**os.environ, "MODELHUB_SERVER": empty_server.url}
    assert flask(environ, "preload", LLAMA).returncode == 0
    environ["MODELHUB_SERVER"] = "http://127.0.0.1:9"
    assert flask(environ, "preload", LLAMA).returncode == 2
    assert flask(environ, "preload", LLAMA, "--server", f"{empty_server.url}/").returncode == 0


def test_the_shell_completes_ids_from_the_server_or_from_this_machine(
    empty_server: Server, models_dir: Path
) -> None:
    away = {**os.environ, "MODELHUB_SERVER": "http://127.0.0.1:9", "MODELHUB_MODELS_DIR": str(models_dir)}
    for environ in (empty_server.environ, away):
        offered = completions(environ, "preload", BERT, "tiny/")
        assert LLAMA in offered
        assert BERT not in offered, "it is on the line already"
        assert all(model_id.startswith("tiny/") for model_id in offered)


def test_the_shell_offers_no_model_that_cannot_be_loaded(start_server: StartServer, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    models.make_llama(folder / "org/llama")
    (folder / "org/gguf").mkdir()
    (folder / "org/gguf" / "model-Q4_K_M.gguf").write_bytes(bytes(1000))
    own = start_server(MODELS_DIR=folder)
    away = {**own.environ, "MODELHUB_SERVER": "http://127.0.0.1:9"}
    for environ in (own.environ, away):
        assert completions(environ, "preload", "org/") == ["org/llama"]


def test_the_command_imports_neither_torch_nor_eventlet(empty_server: Server) -> None:
    environ = {**empty_server.environ, "PYTHONPROFILEIMPORTTIME": "1"}
    done = flask(environ, "preload", LLAMA)
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert done.returncode == 0
    assert {"rich", "socketio.client"} <= imported
    assert not {"torch", "transformers", "eventlet"} & imported


def test_a_load_is_followed_while_folders_come_and_go(
    start_server: StartServer, run: Run, tmp_path: Path
) -> None:
    models.make_llama(tmp_path / "own" / "one")
    own = start_server(MODELS_DIR=tmp_path / "own").wait_warm()
    frozen = own.freeze_load("one")
    watcher = socketio.SimpleClient()
    watcher.connect(own.url)
    running = run(own.environ, "preload", "one")
    running.wait_for("one  ")
    (tmp_path / "own" / "two").mkdir()
    assert watcher.receive(timeout=20)[0] == "models_changed"
    watcher.disconnect()
    frozen.resume()
    assert running.wait() == 0
    assert "one  Ready in" in running.output
    assert "Traceback" not in running.output
