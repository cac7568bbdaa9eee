"""The first run goes on while the weights are still being read, and is told truthfully."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from modelhub.checkpoints import Checkpoint
from modelhub.errors import ModelhubError
from modelhub.loader import first_run, nine_steps
from modelhub.loader.forward import build_inputs
from modelhub.loader.reading import reading as reading_module
from modelhub.loader.reading.ledger import Ledger
from modelhub.loader.reading.populate import Window
from tests.support import models
from tests.support.loads import failure, run, spec_for

NAME = "deep"
LAYERS = 6
MANY = 1000  # more pieces than there are


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with a Llama of six layers."""
    config = LlamaConfig(
        vocab_size=259, hidden_size=128, intermediate_size=256, num_hidden_layers=LAYERS,
        num_attention_heads=4, bos_token_id=256, eos_token_id=257, pad_token_id=258,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("deep")
    models.save(folder / NAME, LlamaForCausalLM(config).to(torch.bfloat16), models.byte_tokenizer())
    return folder


class Disk:
    """A disk that reads a piece only when it may, and the order in which pieces came and layers ran."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.left = threading.Semaphore(0)

    def let(self, pieces: int) -> None:
        """Let so many more pieces be read."""
        for _ in range(pieces):
            self.left.release()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """Pieces of 32 kB, which are read one after the other and only when the test lets them."""
    disk = Disk()
    populate, mark = Window.populate, Ledger.mark

    def slowly(self: Window, offset: int, length: int) -> bool:
        disk.left.acquire()
        return populate(self, offset, length)

    def noted(self: Ledger, number: int, cached: bool) -> None:
        disk.order.append("piece")
        mark(self, number, cached)

    monkeypatch.setattr(reading_module, "PIECE_BYTES", 32768)
    monkeypatch.setattr("modelhub.loader.reading.reader.THREADS", 1)
    monkeypatch.setattr("modelhub.loader.reading.reader.Reader._cached", lambda *_: frozenset())
    monkeypatch.setattr(Window, "populate", slowly)
    monkeypatch.setattr(Ledger, "mark", noted)
    yield disk
    disk.let(MANY)


@pytest.fixture
def _layers_note_their_run(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    count = first_run.LayerCount._count

    def noted(self: Any, layer: Any, *rest: Any) -> None:
        disk.order.append("layer")
        count(self, layer, *rest)

    monkeypatch.setattr(first_run.LayerCount, "_count", noted)


def in_background(load: Iterator[Checkpoint], seen: list[Checkpoint]) -> threading.Thread:
    """Iterate a load in a thread of its own."""

    def iterate() -> None:
        for checkpoint in load:
            seen.append(checkpoint)

    thread = threading.Thread(target=iterate)
    thread.start()
    return thread


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.005)


@pytest.mark.usefixtures("_layers_note_their_run")
def test_layers_run_before_the_last_byte_is_read(folder: Path, disk: Disk) -> None:
    seen: list[Checkpoint] = []
    thread = in_background(nine_steps.load(spec_for(NAME, folder)), seen)
    pieces = -(-(folder / NAME / "model.safetensors").stat().st_size // 32768)
    disk.let(pieces // 2)
    wait_for(lambda: "layer" in disk.order)
    time.sleep(0.3)
    assert disk.order.count("layer") < LAYERS, "half of the bytes are not enough for all"
    disk.let(pieces - pieces // 2 - 1)
    wait_for(lambda: disk.order.count("layer") == LAYERS)
    assert disk.order.count("piece") == pieces - 1
    assert max(checkpoint.step for checkpoint in seen) == 5, "its bytes are not all in memory"
    disk.let(1)
    thread.join(60)
    assert seen[-1].step == 9


@pytest.mark.usefixtures("_layers_note_their_run")
def test_no_layer_runs_before_its_bytes_are_in_memory(folder: Path, disk: Disk) -> None:
    """A layer has 330 kB: so many pieces at least came before it."""
    thread = in_background(nine_steps.load(spec_for(NAME, folder)), [])
    disk.let(3)
    wait_for(lambda: disk.order.count("piece") == 3)
    time.sleep(0.5)
    assert "layer" not in disk.order
    disk.let(MANY)
    thread.join(60)
    layer_bytes = sum(
        tensor.nbytes
        for name, tensor in load_file(folder / NAME / "model.safetensors").items()
        if ".layers.0." in name
    )
    places = [place for place, what in enumerate(disk.order) if what == "layer"]
    for number, place in enumerate(places):
        came = disk.order[:place].count("piece")
        assert came * 32768 >= (number + 1) * layer_bytes, f"layer {number} ran after {came} pieces"


def test_the_logits_are_those_of_from_pretrained(folder: Path, disk: Disk) -> None:
    threading.Timer(0.3, disk.let, (MANY,)).start()
    _, loaded = run(spec_for(NAME, folder, exact=True))
    plain = LlamaForCausalLM.from_pretrained(folder / NAME)
    inputs = build_inputs(loaded.model, loaded.processor)
    with torch.inference_mode():
        assert torch.equal(loaded.model(**inputs).logits, plain(**inputs).logits)


def test_the_last_step_counts_layers(folder: Path) -> None:
    checkpoints, _ = run(spec_for(NAME, folder))
    told = [c for c in checkpoints if c.step == 9 and c.unit is not None]
    assert {(c.unit, c.size) for c in told} == {("layers", LAYERS)}
    assert [c.done for c in told] == sorted({c.done or 0 for c in told}), "it rises"
    assert told[-1].done == LAYERS


def test_the_layers_are_told_while_they_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each layer waits until the generator has told how many have run before it."""
    told: list[int] = []
    count = first_run.LayerCount._count

    def slowly(self: Any, layer: Any, *rest: Any) -> None:
        count(self, layer, *rest)
        deadline = time.monotonic() + 20
        while self.done not in told and self.done < LAYERS and time.monotonic() < deadline:
            time.sleep(0.01)

    monkeypatch.setattr(first_run.LayerCount, "_count", slowly)
    for checkpoint in nine_steps.load(spec_for(NAME, folder)):
        if checkpoint.step == 9 and checkpoint.done is not None:
            told.append(checkpoint.done)
    assert [number for number in told if number] == [1, 2, 3, 4, 5, 6]


def test_a_file_that_shrinks_meanwhile_is_corrupt_in_step_5(folder: Path, tmp_path: Path, disk: Disk) -> None:
    path = tmp_path / "m" / NAME
    path.mkdir(parents=True)
    for file in (folder / NAME).iterdir():
        (path / file.name).write_bytes(file.read_bytes())
    load = nine_steps.load(spec_for(NAME, tmp_path / "m"))
    disk.let(2)
    last = next(c for c in load if c.step == 5 and c.done)
    os.truncate(path / "model.safetensors", 4 * 32768)
    disk.let(MANY)
    with pytest.raises(ModelhubError) as caught:
        for last in load:  # noqa: B007 - the last one is looked at
            pass
    assert caught.value.code == "corrupt_own"
    assert "model.safetensors" in caught.value.message
    assert last.step == 5


@pytest.fixture
def _forward_passes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    ran: list[str] = []
    monkeypatch.setattr(first_run, "run_forward", lambda *_: ran.append("forward"))
    yield
    assert ran == []


@pytest.mark.usefixtures("_forward_passes")
@pytest.mark.parametrize("code", ["incomplete_weights", "bad_config"])
def test_a_model_that_does_not_fit_its_files_is_not_run(folder: Path, tmp_path: Path, code: str) -> None:
    path = tmp_path / "m" / NAME
    path.mkdir(parents=True)
    for file in (folder / NAME).iterdir():
        (path / file.name).write_bytes(file.read_bytes())
    tensors = load_file(path / "model.safetensors")
    if code == "incomplete_weights":
        del tensors["model.norm.weight"]
    else:
        tensors["model.norm.weight"] = torch.ones(64, dtype=torch.bfloat16)
    save_file(tensors, path / "model.safetensors", {"format": "pt"})
    assert failure(spec_for(NAME, tmp_path / "m")).code == code
    load = nine_steps.load(spec_for(NAME, tmp_path / "m"))
    last = next(load)
    with suppress(ModelhubError):
        for last in load:  # noqa: B007 - the last one is looked at
            pass
    assert last.step == 6


def test_what_goes_wrong_in_the_run_is_raised_in_step_9(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ModelhubError("forward_failed", id=NAME, why="it is a test")

    monkeypatch.setattr(first_run, "run_forward", fail)
    load = nine_steps.load(spec_for(NAME, folder))
    last = next(load)
    with pytest.raises(ModelhubError, match="it is a test"):
        for last in load:  # noqa: B007 - the last one is looked at
            pass
    assert last.step == 9


@pytest.mark.parametrize("pieces", [0, 1, 12, 30, 60])
def test_closing_while_it_is_read_and_run_leaves_no_thread(folder: Path, disk: Disk, pieces: int) -> None:
    """The fixture of this folder looks for threads that are left."""
    load = nine_steps.load(spec_for(NAME, folder))
    next(checkpoint for checkpoint in load if checkpoint.step == 5)
    disk.let(pieces)
    wait_for(lambda: disk.order.count("piece") == pieces)
    threading.Timer(0.05, disk.let, (MANY,)).start()  # a thread finishes its piece before it ends
    load.close()
    assert next(load, None) is None
    assert disk.order.count("piece") <= pieces + 1, "nothing is read after it was closed"


def test_closing_during_the_forward_pass_leaves_no_thread(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = threading.Event()
    count = first_run.LayerCount._count

    def slowly(self: Any, layer: Any, *rest: Any) -> None:
        count(self, layer, *rest)
        running.set()
        time.sleep(0.05)

    monkeypatch.setattr(first_run.LayerCount, "_count", slowly)
    load = nine_steps.load(spec_for(NAME, folder))
    next(checkpoint for checkpoint in load if checkpoint.step == 9)
    assert running.wait(30)
    load.close()
