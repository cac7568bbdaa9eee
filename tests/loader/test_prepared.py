"""What is kept from an earlier load: it reads nothing, and is used only while no file has changed."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from modelhub.checkpoints import Checkpoint, LoadSpec
from modelhub.inference.pipelines import Predictor
from modelhub.loader import nine_steps
from modelhub.loader.finishing import LoadedModel
from modelhub.loader.forward import build_inputs
from modelhub.loader.prepared import Prepared, fingerprint, prepare
from tests.support import models
from tests.support.loads import run, spec_for, steps
from tests.support.resident import drop, resident_bytes

CopyOf = Callable[[str], Path]
LLAMA, BERT = "tiny/llama", "tiny/bert"


def load(spec: LoadSpec, prepared: Prepared | None) -> tuple[list[Checkpoint], LoadedModel]:
    """Every checkpoint of a load with what is prepared, and the model."""
    checkpoints = []
    generator = nine_steps.load(spec, prepared=prepared)
    while True:
        try:
            checkpoints.append(next(generator))
        except StopIteration as end:
            return checkpoints, end.value


def prepared_for(spec: LoadSpec) -> Prepared:
    prepared = prepare(spec)
    assert prepared is not None
    return prepared


def is_used(loaded: LoadedModel, prepared: Prepared) -> bool:
    return prepared.assembled is not None and loaded.model is prepared.assembled.model


def test_preparing_reads_no_weights_and_starts_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")  # as the zygote has it
    path = models.make_sparse_llama(tmp_path / "m" / "large", 800_000) / "model.safetensors"
    drop(path)
    size = path.stat().st_size
    if resident_bytes(path) > size // 10:
        pytest.skip("this file system does not evict files from memory")
    before = threading.active_count()
    native = len(os.listdir("/proc/self/task"))
    prepared = prepared_for(spec_for("large", tmp_path / "m"))
    assert resident_bytes(path) < size // 10, "the header is read, and what the kernel reads with it"
    assert threading.active_count() == before
    assert len(os.listdir("/proc/self/task")) <= native
    assert prepared.assembled is not None
    assert prepared.assembled.mapped


@pytest.mark.parametrize("name", [LLAMA, BERT, "tiny/t5", "tiny/wav2vec2"])
def test_a_load_with_it_gives_the_same_model(made: Path, name: str) -> None:
    spec = spec_for(name, made, exact=True)
    prepared = prepared_for(spec)
    checkpoints, ours = load(spec, prepared)
    _, theirs = run(spec)
    assert is_used(ours, prepared)
    assert steps(checkpoints) == list(range(1, 10))
    read = [c for c in checkpoints if c.step == 5 and c.done is not None]
    assert read[-1].done == read[-1].size == ours.facts["bytes"]
    facts = [{**loaded.facts, "memory": None} for loaded in (ours, theirs)]
    assert facts[0] == facts[1]
    assert ours.model.state_dict().keys() == theirs.model.state_dict().keys()
    inputs = build_inputs(ours.model, ours.processor)
    with torch.inference_mode():
        assert torch.equal(ours.model(**inputs)[0], theirs.model(**inputs)[0])
    assert not any(parameter.requires_grad for parameter in ours.model.parameters())


def test_it_predicts_as_the_first_load_did(made: Path) -> None:
    spec = spec_for(LLAMA, made)
    parameters = {"max_new_tokens": 8, "do_sample": False}
    _, ours = load(spec, prepared_for(spec))
    _, theirs = run(spec)
    outputs = [Predictor(loaded).predict("hello", parameters) for loaded in (ours, theirs)]
    assert outputs[0] == outputs[1]


def test_a_forced_load_may_use_it_and_another_one_not(made: Path) -> None:
    spec = spec_for(LLAMA, made)
    prepared = prepared_for(replace(spec, force=True))
    files = prepared.files
    assert prepared.fits(spec, files)
    assert prepared.fits(replace(spec, force=True), files)
    for changes in ({"dtype": "float32"}, {"exact": True}, {"device": "auto"}, {"model_id": BERT}):
        assert not prepared.fits(replace(spec, **changes), files)
    assert not prepared.fits(spec, replace(files, folder=files.folder.parent))


def _touch_config(folder: Path) -> None:
    os.utime(folder / "config.json")


def _edit_config(folder: Path) -> None:
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**settings, "rms_norm_eps": 0.1}))


def _replace_weights(folder: Path) -> None:
    models.SEED += 1
    try:
        models.make_llama(folder.with_name("other"))
    finally:
        models.SEED -= 1
    (folder.with_name("other") / "model.safetensors").rename(folder / "model.safetensors")
    shutil.rmtree(folder.with_name("other"))


def _split_weights(folder: Path) -> None:
    shutil.rmtree(folder)
    models.make_llama(folder, shards=3)


def _remove_file(folder: Path) -> None:
    (folder / "generation_config.json").unlink()


@pytest.mark.parametrize(
    "change", [_touch_config, _edit_config, _replace_weights, _split_weights, _remove_file]
)
def test_a_changed_file_makes_it_useless_and_the_load_works(
    copy_of: CopyOf, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    folder = copy_of(LLAMA)
    spec = spec_for(LLAMA, tmp_path / "models", exact=True)
    prepared = prepared_for(spec)
    change(folder)
    assert not prepared.fits(spec, prepared.files)
    _, ours = load(spec, prepared)
    _, theirs = run(spec)
    assert not is_used(ours, prepared)
    assert ours.facts["files"] == theirs.facts["files"]
    assert ours.model.config.to_dict() == theirs.model.config.to_dict()
    mine, other = ours.model.state_dict(), theirs.model.state_dict()
    assert all(torch.equal(mine[name], other[name]) for name in other)


def test_a_folder_that_is_gone_has_no_fingerprint(copy_of: CopyOf, tmp_path: Path) -> None:
    folder = copy_of(LLAMA)
    prepared = prepared_for(spec_for(LLAMA, tmp_path / "models"))
    shutil.rmtree(folder)
    assert fingerprint(prepared.files) == ()
    assert prepare(spec_for(LLAMA, tmp_path / "models")) is None


@pytest.mark.parametrize(
    ("name", "more"), [(LLAMA, {"dtype": "float32"}), (BERT, {"dtype": "bfloat16"}), ("tiny/vit", {})]
)
def test_what_has_to_be_converted_is_prepared_without_its_weights(
    made: Path, name: str, more: dict[str, Any]
) -> None:
    spec = spec_for(name, made, **more)
    prepared = prepared_for(spec)
    assert prepared.assembled is None
    _, ours = load(spec, prepared)
    _, theirs = run(spec)
    assert ours.facts["dtype"] == theirs.facts["dtype"]
    mine, other = ours.model.state_dict(), theirs.model.state_dict()
    assert all(torch.equal(mine[key], other[key]) for key in other)


def test_a_model_of_the_hub_that_is_not_here_is_not_prepared(made: Path) -> None:
    assert prepare(spec_for("org/nowhere", made)) is None
