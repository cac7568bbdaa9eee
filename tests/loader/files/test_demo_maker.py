"""Demo models are generated during a load."""

from __future__ import annotations

import fcntl
import json
import threading
from collections import namedtuple
from pathlib import Path

import pytest
import torch

from modelhub import demos
from modelhub.demos import Demo
from modelhub.inference.pipelines import Predictor
from modelhub.loader import nine_steps
from modelhub.memory import data_bytes
from tests.support.loads import failure, run, spec_for, steps

TINY = Demo("demo/random-tiny", layers=2, hidden=64, intermediate=128, heads=4, shards=3)
SMALL = Demo("demo/random-small", layers=24, hidden=512, intermediate=1408, heads=8, shards=2)


@pytest.fixture(autouse=True)
def _demos(monkeypatch: pytest.MonkeyPatch) -> None:
    for demo in (TINY, SMALL):
        monkeypatch.setitem(demos.DEMOS, demo.model_id, demo)


def _made(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "demo").iterdir())


def test_a_demo_is_made_in_step_three_and_loaded(tmp_path: Path) -> None:
    checkpoints, model = run(spec_for(TINY.model_id, tmp_path, tmp_path))
    progress = [c for c in checkpoints if c.step == 3 and c.done is not None]
    assert steps(checkpoints) == list(range(1, 10))
    assert {(c.size, c.unit) for c in progress} == {(TINY.size_bytes, "bytes")}
    assert progress[-1].done == TINY.size_bytes
    assert (model.facts["source"], model.facts["parameters"]) == ("demo", TINY.parameters)
    assert (model.facts["dtype"], model.facts["files"]) == ("bfloat16", TINY.shards)
    assert _made(tmp_path) == ["random-tiny"]


def test_a_demo_is_made_once_and_always_the_same(tmp_path: Path) -> None:
    _, first = run(spec_for(TINY.model_id, tmp_path, tmp_path / "a"))
    again, second = run(spec_for(TINY.model_id, tmp_path, tmp_path / "a"))
    _, third = run(spec_for(TINY.model_id, tmp_path, tmp_path / "b"))
    assert [c for c in again if c.step == 3 and c.done is not None] == []
    for other in (second, third):
        pairs = zip(first.model.parameters(), other.model.parameters(), strict=True)
        assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


def test_a_demo_is_labelled_as_random_and_encodes_any_text(tmp_path: Path) -> None:
    _, model = run(spec_for(TINY.model_id, tmp_path, tmp_path))
    assert "Random weights" in (tmp_path / TINY.model_id / "README.md").read_text()
    text = "Grüße, 世界! \n"
    assert model.processor.decode(model.processor(text)["input_ids"]) == text
    assert Predictor(model).predict(text, {"max_new_tokens": 2})[0]["generated_text"].startswith(text)


def test_the_index_names_every_tensor(tmp_path: Path) -> None:
    _, model = run(spec_for(TINY.model_id, tmp_path, tmp_path))
    index = json.loads((tmp_path / TINY.model_id / "model.safetensors.index.json").read_text())
    assert index["weight_map"].keys() == model.model.state_dict().keys()
    assert len(set(index["weight_map"].values())) == TINY.shards


def test_the_real_tenth_of_a_gigabyte(tmp_path: Path) -> None:
    demo = demos.DEMOS["demo/random-0.1gb"]
    checkpoints, model = run(spec_for(demo.model_id, tmp_path, tmp_path))
    done = [c.done or 0 for c in checkpoints if c.step == 3 and c.done is not None]
    assert len(done) > 2
    assert done == sorted(done)
    assert done[-1] == demo.size_bytes == 2 * model.facts["parameters"]


def test_a_demo_with_large_tensors_takes_little_memory_while_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = Demo("demo/random-wide", layers=1, hidden=2048, intermediate=11264, heads=16, shards=1)
    monkeypatch.setitem(demos.DEMOS, wide.model_id, wide)
    load = nine_steps.load(spec_for(wide.model_id, tmp_path, tmp_path))
    next(c for c in load if c.step == 3)
    before, taken = data_bytes(), list[int]()
    while next(load).step == 3:
        taken.append(data_bytes() - before)
    load.close()
    assert taken, "it was looked at while it was made"
    assert max(taken) < 64 * 2**20, "one of its tensors is 46 MB in bfloat16"


def test_a_cancel_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    load = nine_steps.load(spec_for(SMALL.model_id, tmp_path, tmp_path))
    progress = next(c for c in load if c.step == 3 and c.done)
    assert progress.done is not None
    assert 0 < progress.done < SMALL.size_bytes
    load.close()
    assert _made(tmp_path) == []


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_cancel_at_the_beginning_leaves_nothing(tmp_path: Path, step: int) -> None:
    load = nine_steps.load(spec_for(TINY.model_id, tmp_path, tmp_path))
    next(c for c in load if c.step == step)
    load.close()
    assert not (tmp_path / "demo").exists() or _made(tmp_path) == []


def test_the_folder_of_a_killed_process_is_removed_and_that_of_a_running_one_is_not(tmp_path: Path) -> None:
    dead, alive = (tmp_path / "demo" / f".making-random-tiny-{pid}" for pid in (1, 2))
    for folder in (dead, alive):
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"half")
        (folder / ".lock").touch()
    with (alive / ".lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _, model = run(spec_for(TINY.model_id, tmp_path, tmp_path))
    assert model.facts["source"] == "demo"
    assert _made(tmp_path) == [alive.name, "random-tiny"]


def test_two_loads_that_make_the_same_demo_both_succeed(tmp_path: Path) -> None:
    first = nine_steps.load(spec_for(TINY.model_id, tmp_path, tmp_path))
    next(c for c in first if c.step == 2)
    errors: list[BaseException] = []

    def other() -> None:
        try:
            run(spec_for(TINY.model_id, tmp_path, tmp_path))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert errors == []
    assert [c.step for c in first][-1] == 9
    assert _made(tmp_path) == ["random-tiny"]


def test_a_full_disk_fails_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10**9, 10**9, 1000))
    assert failure(spec_for(TINY.model_id, tmp_path, tmp_path)).code == "disk_full"
    assert _made(tmp_path) == []
