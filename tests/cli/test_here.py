"""flask preload --here: no server, a real zygote, real models."""

from __future__ import annotations

import shutil
from pathlib import Path

import psutil
import pytest

from tests.support.cluster import all_gone
from tests.support.server import Server, wait_until
from tests.support.terminal import events, flask, lines_of
from tests.support.truth import check_truth
from tests.support.types import Run, StartTerminal

GOOD, BROKEN = "tiny/bert", "tiny/broken"


@pytest.fixture
def environ(models_dir: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of a machine with a good model and one whose file was cut short; no server."""
    for name in (GOOD, BROKEN):
        shutil.copytree(models_dir / GOOD, tmp_path / "models" / name)
    weights = tmp_path / "models" / BROKEN / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    return Server(tmp_path / "data", MODELS_DIR=tmp_path / "models").environ


def test_good_models_are_loaded_and_unloaded_and_a_broken_one_is_reported(environ: dict[str, str]) -> None:
    done = flask(environ, "preload", "--here", "--json", BROKEN, GOOD)
    assert done.returncode == 1, done.stderr
    printed = events(done.stdout)
    for model_id, state in ((BROKEN, "failed"), (GOOD, "ready")):
        mine = [(name, payload) for name, payload in printed if payload["id"] == model_id]
        check_truth([pair for pair in mine if pair[0] != "result"])
        assert mine[-1][0] == "result"
        assert mine[-1][1]["state"] == state
    (broken,) = [payload for name, payload in printed if name == "model_load_failed"]
    assert broken["error"]["code"] == "corrupt_own"
    assert not (Path(environ["MODELHUB_DATA_DIR"]) / "modelhub.sqlite").exists()


def test_on_a_terminal_it_shows_bars_and_leaves_no_process(
    environ: dict[str, str], terminal: StartTerminal
) -> None:
    running = terminal(environ, "preload", "--here", GOOD)
    running.wait_for("importing torch and transformers")
    running.wait_for("━━━━")
    family = psutil.Process(running.process.pid).children(recursive=True)
    assert running.wait() == 0
    assert f"{GOOD}  Ready in " in running.output
    wait_until(lambda: all_gone(family), 5)


def test_ctrl_c_cancels_running_and_queued_loads(environ: dict[str, str], run: Run) -> None:
    running = run(environ, "preload", "--here", GOOD, BROKEN)
    running.wait_for("Step 1 of 9")
    family = psutil.Process(running.process.pid).children(recursive=True)
    running.interrupt()
    assert running.wait() == 130
    for model_id in (GOOD, BROKEN):
        assert lines_of(running.output, model_id)[-1].startswith("Cancelled from the command line.")
    assert "Traceback" not in running.output
    wait_until(lambda: all_gone(family), 5)


def test_a_chosen_data_type_is_used_and_a_missing_device_refused(environ: dict[str, str]) -> None:
    done = flask(environ, "preload", "--here", "--dtype", "bfloat16", GOOD)
    assert done.returncode == 0, done.stdout + done.stderr
    assert lines_of(done.stdout, GOOD)[-1].endswith(" · cpu · bfloat16")
    refused = flask(environ, "preload", "--here", "--device", "cuda:99", GOOD)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.splitlines()[0] == "This machine has no usable device cuda:99."
    environ["MODELHUB_DEVICE"] = "cuda:99"
    assert (
        "The setting MODELHUB_DEVICE cannot be 'cuda:99'." in flask(environ, "preload", "--here", GOOD).stderr
    )
