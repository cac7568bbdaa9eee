"""A whole load: the checkpoints that it yields and the model that it returns."""

from __future__ import annotations

import base64
import gc
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from modelhub.checkpoints import STEPS, Checkpoint
from modelhub.errors import ModelhubError
from modelhub.inference.embeddings import embed
from modelhub.inference.pipelines import Predictor
from modelhub.limits import PredictionLimits
from modelhub.loader import nine_steps
from modelhub.loader.explain import explain
from modelhub.loader.files.pooling import Pooling
from modelhub.loader.forward import build_inputs
from modelhub.loader.reading.populate import Window
from modelhub.loader.reading.reader import THREADS
from tests.support import models
from tests.support.loads import failure, run, spec_for, steps
from tests.support.resident import resident_bytes

CopyOf = Callable[[str], Path]
ALL = [*models.FOUR, *models.MORE]


def _of(checkpoints: list[Checkpoint], step: int) -> list[Checkpoint]:
    return [checkpoint for checkpoint in checkpoints if checkpoint.step == step]


def _weights_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


@pytest.mark.parametrize("name", ALL)
def test_nine_checkpoints_in_order_with_the_messages_of_the_table(made: Path, name: str) -> None:
    checkpoints, model = run(spec_for(name, made))
    assert [checkpoint.step for checkpoint in checkpoints] == sorted(c.step for c in checkpoints)
    assert steps(checkpoints) == list(range(1, 10))
    assert {(c.step, c.message) for c in checkpoints} == {(s.step, s.message) for s in STEPS}
    assert model.facts["source"] == "folder"


@pytest.mark.parametrize("name", ALL)
def test_bytes_are_those_of_the_files_and_complete(made: Path, name: str) -> None:
    checkpoints, model = run(spec_for(name, made))
    counted = [c for c in _of(checkpoints, 5) if c.done is not None and c.unit != "tensors"]
    size = _weights_size(made / name)
    assert {(c.size, c.unit) for c in counted} == {(size, "bytes")}
    assert [c.done for c in counted] == sorted(c.done or 0 for c in counted)
    assert counted[-1].done == size
    assert counted[-1].detail is not None
    assert counted[-1].detail.startswith("tensor ")
    assert model.facts["bytes"] == size


@pytest.mark.parametrize("dtype", ["auto", "float32"])
def test_tensors_are_counted_where_they_are_converted_from_memory(tmp_path: Path, dtype: str) -> None:
    models.make_llama(tmp_path / "m")
    # The file is read by the time that the load is admitted.
    checkpoints, _ = run(spec_for("m", tmp_path, dtype=dtype), lambda need: time.sleep(0.3))
    counted = [c for c in _of(checkpoints, 5) if c.unit == "tensors"]
    if dtype == "auto":
        assert counted == []
        return
    first, total = counted[0], counted[0].size or 0
    assert (first.done, first.detail) == (0, "converting them")
    assert total > 10
    assert [c.done for c in counted] == sorted(c.done or 0 for c in counted)
    assert _of(checkpoints, 5)[-1].unit == "bytes", "complete"


@pytest.mark.parametrize("name", ALL)
def test_bit_for_bit_what_from_pretrained_makes(made: Path, name: str) -> None:
    _, loaded = run(spec_for(name, made))
    plain = type(loaded.model).from_pretrained(made / name)
    ours, theirs = loaded.model.state_dict(), plain.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) and ours[key].dtype == theirs[key].dtype for key in ours)
    inputs = build_inputs(loaded.model, loaded.processor)
    with torch.inference_mode():
        first, second = loaded.model(**inputs)[0], plain(**inputs)[0]
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("name", "architecture", "task", "processor"),
    [
        ("tiny/llama", "LlamaForCausalLM", "text-generation", "TokenizersBackend"),
        ("tiny/bert", "BertForMaskedLM", "fill-mask", "BertTokenizer"),
        ("tiny/vit", "ViTForImageClassification", "image-classification", "ViTImageProcessorPil"),
        ("tiny/wav2vec2", "Wav2Vec2ForCTC", "automatic-speech-recognition", "Wav2Vec2Processor"),
        ("tiny/whisper", "WhisperForConditionalGeneration", "automatic-speech-recognition", None),
        ("tiny/t5", "T5ForConditionalGeneration", "text2text-generation", "TokenizersBackend"),
        ("tiny/clip", "CLIPModel", "zero-shot-image-classification", "CLIPProcessor"),
    ],
)
def test_the_right_class_task_and_processor(
    made: Path, name: str, architecture: str, task: str, processor: str | None
) -> None:
    _, model = run(spec_for(name, made))
    assert (model.facts["architecture"], model.task, model.facts["task"]) == (architecture, task, task)
    assert processor in (None, type(model.processor).__name__)


def test_facts(made: Path) -> None:
    _, model = run(spec_for("tiny/llama", made))
    facts = dict(model.facts)
    del facts["memory"]  # a tiny model fits into what the process has already: see the next test
    assert facts == {
        "device": "cpu",
        "dtype": "bfloat16",
        "parameters": 115392,
        "bytes": _weights_size(made / "tiny/llama"),
        "architecture": "LlamaForCausalLM",
        "task": "text-generation",
        "chats": False,
        "files": 1,
        "revision": None,
        "source": "folder",
        "attention": "sdpa",
        "unused_tensors": 0,
    }


def test_the_memory_of_a_load_is_measured(tmp_path: Path) -> None:
    folder = models.make_sparse_llama(tmp_path / "m" / "large", 800_000)
    size = _weights_size(folder)
    gc.collect()
    _, model = run(spec_for("large", tmp_path / "m"))
    assert (
        0.45 * size < model.facts["memory"] < size + 150 * 10**6
    )  # of its two large tensors one is read through


def test_the_bytes_of_all_shards_are_counted_together(tmp_path: Path) -> None:
    folder = models.make_llama(tmp_path / "m" / "shards", shards=3)
    checkpoints, model = run(spec_for("shards", tmp_path / "m"))
    assert model.facts["files"] == len(list(folder.glob("*.safetensors"))) > 2
    assert _of(checkpoints, 5)[-1].done == _weights_size(folder)


def test_the_model_is_set_for_inference(made: Path) -> None:
    _, loaded = run(spec_for("tiny/bert", made))
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())


def test_another_dtype_is_converted_and_changes_the_memory_needed(made: Path) -> None:
    needs: list[int] = []
    _, as_filed = run(spec_for("tiny/llama", made), needs.append)
    _, wide = run(spec_for("tiny/llama", made, dtype="float32"), needs.append)
    assert (as_filed.model.dtype, wide.model.dtype) == (torch.bfloat16, torch.float32)
    assert needs == [2 * 115392, 4 * 115392]
    assert wide.facts["dtype"] == "float32"


def test_admission_comes_before_any_weight_is_read(made: Path) -> None:
    seen: list[int] = []

    def refuse(need: int) -> None:
        raise ModelhubError("no_memory", id="x", needed=str(need), free="none")

    load = nine_steps.load(spec_for("tiny/bert", made), refuse)
    with pytest.raises(ModelhubError) as caught:
        seen.extend(checkpoint.step for checkpoint in load)
    assert caught.value.code == "no_memory"
    assert seen == [1, 2, 3, 4]


def test_a_model_of_terabytes_gets_as_far_as_admission(tmp_path: Path) -> None:
    folder = models.make_sparse_llama(tmp_path / "m" / "huge", 2**34)
    size = (folder / "model.safetensors").stat().st_size

    def refuse(need: int) -> None:
        assert size - 10_000 < need < size
        raise ModelhubError("no_memory", id="huge", needed="4 TB", free="none")

    with pytest.raises(ModelhubError) as caught:
        run(spec_for("huge", tmp_path / "m"), refuse)
    assert caught.value.code == "no_memory"


def test_the_published_minilm_finds_similar_sentences(minilm_dir: Path) -> None:
    spec = spec_for(f"{minilm_dir.parent.name}/model", minilm_dir.parent.parent)
    checkpoints, model = run(spec)
    assert _of(checkpoints, 5)[-1].done == 90_868_376
    assert model.facts["architecture"] == "BertModel"
    predictor = Predictor(model)

    def mean_of(sentence: str) -> torch.Tensor:
        tokens = torch.tensor(predictor.predict(sentence, {}))[0]
        return torch.nn.functional.normalize(tokens.mean(dim=0), dim=0)

    sentences = ["A cat sleeps on the sofa.", "A kitten naps on the couch.", "Taxes are due."]
    cat, kitten, tax = map(mean_of, sentences)
    assert float(cat @ kitten) > float(cat @ tax) + 0.3
    assert model.pooling == Pooling(("mean",), True, 256), "as its files say"
    found = embed(model, sentences, {}, PredictionLimits())["embeddings"]
    torch.testing.assert_close(torch.tensor(found), torch.stack([cat, kitten, tax]), atol=1e-5, rtol=1e-4)
    # Its tokenizer.json cuts at 128 tokens, and fills up to as many.
    assert embed(model, "cat " * 200, {}, PredictionLimits())["prompt_tokens"] == 202


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read is read, at about 2 GB/s: a hole in a file takes no time otherwise."""
    populate = Window.populate

    def slowly(self: Window, offset: int, length: int) -> bool:
        time.sleep(length * THREADS / 2e9)
        return populate(self, offset, length)

    monkeypatch.setattr(Window, "populate", slowly)


@pytest.mark.usefixtures("slow_disk")
def test_closing_during_the_reading_stops_everything_at_once(tmp_path: Path) -> None:
    models.make_sparse_llama(tmp_path / "m" / "large", 8 * 10**6)
    load = nine_steps.load(spec_for("large", tmp_path / "m"))
    read = next(c for c in load if c.step == 5 and c.done)
    assert read.done is not None
    assert read.size is not None
    assert 0 < read.done < read.size
    started = time.monotonic()
    load.close()
    assert time.monotonic() - started < 1


@pytest.mark.usefixtures("slow_disk")
def test_no_byte_is_counted_before_it_is_in_memory(tmp_path: Path) -> None:
    folder = models.make_sparse_llama(tmp_path / "m" / "large", 4 * 10**6)
    path = folder / "model.safetensors"
    slack = path.stat().st_size // 100  # the kernel may take a few pages back at any time
    claims = 0
    load = nine_steps.load(spec_for("large", tmp_path / "m"))
    for checkpoint in load:
        if checkpoint.step == 5 and checkpoint.done:
            assert checkpoint.done <= resident_bytes(path) + slack
            claims += 1
        if checkpoint.step == 6:
            break
    load.close()
    assert claims > 2


@pytest.mark.parametrize("until", range(1, 10))
def test_closing_at_any_step_raises_nothing(made: Path, until: int) -> None:
    load = nine_steps.load(spec_for("tiny/bert", made))
    next(checkpoint for checkpoint in load if checkpoint.step == until)
    load.close()
    assert next(load, None) is None


def _edit_config(folder: Path, **changes: Any) -> None:
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | changes))


def _edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def test_a_missing_tensor_is_a_failure(copy_of: CopyOf, tmp_path: Path) -> None:
    name = "model.layers.1.mlp.up_proj.weight"
    _edit_weights(copy_of("tiny/llama"), lambda tensors: tensors.pop(name))
    error = failure(spec_for("tiny/llama", tmp_path / "models"))
    assert error.code == "incomplete_weights"
    assert name in error.message
    assert "lack 1 " in error.message


def test_unused_tensors_are_reported_and_no_failure(copy_of: CopyOf, tmp_path: Path) -> None:
    def add(tensors: dict[str, torch.Tensor]) -> None:
        tensors["cls.seq_relationship.weight"] = torch.zeros(2, 64)

    _edit_weights(copy_of("tiny/bert"), add)
    checkpoints, model = run(spec_for("tiny/bert", tmp_path / "models"))
    assert model.facts["unused_tensors"] == 1
    assert "cls.seq_relationship.weight" in str(_of(checkpoints, 6)[-1].detail)


def test_a_tensor_of_another_shape_is_a_bad_config(copy_of: CopyOf, tmp_path: Path) -> None:
    _edit_config(copy_of("tiny/llama"), intermediate_size=96)
    assert failure(spec_for("tiny/llama", tmp_path / "models")).code == "bad_config"


def test_what_only_training_uses_may_be_missing(copy_of: CopyOf, tmp_path: Path) -> None:
    name = "wav2vec2.masked_spec_embed"
    _edit_weights(copy_of("tiny/wav2vec2"), lambda tensors: tensors.pop(name))
    run(spec_for("tiny/wav2vec2", tmp_path / "models"))


def test_an_encoder_saved_without_its_pooler_loads_without(tmp_path: Path) -> None:
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
    )
    models.save(tmp_path / "m" / "bare", transformers.BertModel(config, add_pooling_layer=False))
    _, model = run(spec_for("bare", tmp_path / "m"))
    assert model.model.pooler is None
    assert model.processor is None


def test_a_forward_pass_that_fails_is_a_failed_load(copy_of: CopyOf, tmp_path: Path) -> None:
    folder = copy_of("tiny/llama")
    _edit_config(folder, vocab_size=50, pad_token_id=None, bos_token_id=None, eos_token_id=None)

    def shrink(tensors: dict[str, torch.Tensor]) -> None:
        for name in ("model.embed_tokens.weight", "lm_head.weight"):
            tensors[name] = tensors[name][:50].clone()

    _edit_weights(folder, shrink)
    error = failure(spec_for("tiny/llama", tmp_path / "models"))
    assert error.code == "forward_failed"


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_missing_device(made: Path, device: str) -> None:
    if (torch.cuda if device == "cuda" else torch.backends.mps).is_available():
        pytest.skip(f"this machine has {device}")
    assert failure(spec_for("tiny/bert", made, device=device)).code == "no_device"


def test_an_unknown_architecture(copy_of: CopyOf, tmp_path: Path) -> None:
    _edit_config(copy_of("tiny/bert"), model_type="from-the-future")
    error = failure(spec_for("tiny/bert", tmp_path / "models"))
    assert error.code == "unsupported"
    assert "from-the-future" in error.message


def test_an_unknown_head_loads_as_its_base_model(copy_of: CopyOf, tmp_path: Path) -> None:
    _edit_config(copy_of("tiny/bert"), architectures=["os.system"])
    _, model = run(spec_for("tiny/bert", tmp_path / "models"))
    assert model.facts["architecture"] == "BertModel"
    assert model.task == "feature-extraction"
    assert model.facts["unused_tensors"] > 0


def test_a_broken_tokenizer(copy_of: CopyOf, tmp_path: Path) -> None:
    (copy_of("tiny/bert") / "tokenizer.json").write_text("{}")
    assert failure(spec_for("tiny/bert", tmp_path / "models")).code == "bad_tokenizer"


def test_a_memory_error_becomes_out_of_memory(made: Path) -> None:
    def refuse(need: int) -> None:
        raise MemoryError

    spec = spec_for("tiny/bert", made)
    with pytest.raises(MemoryError) as caught:
        run(spec, refuse)
    assert explain(caught.value, spec).code == "out_of_memory"


def test_a_panic_of_a_library_is_a_failed_load(copy_of: CopyOf, tmp_path: Path) -> None:
    folder = copy_of("tiny/llama")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    table = (1024).to_bytes(4, "little") + b"\xff" * 1024 + b"a\0"
    tokenizer["normalizer"] = {
        "type": "Precompiled",
        "precompiled_charsmap": base64.b64encode(table).decode(),
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    error = failure(spec_for("tiny/llama", tmp_path / "models"))
    assert error.code == "forward_failed"
    assert "a library gave up" in error.message


def test_settings_of_generation_that_are_not_valid(copy_of: CopyOf, tmp_path: Path) -> None:
    (copy_of("tiny/llama") / "generation_config.json").write_text('{"cache_implementation": "nonsense"}')
    error = failure(spec_for("tiny/llama", tmp_path / "models"))
    assert error.code == "bad_config"
    assert "generation_config.json" in error.message


def test_a_tokenizer_with_thousands_of_added_tokens(copy_of: CopyOf, tmp_path: Path) -> None:
    """As Gemma 3 has: its tokenizer_config.json has 1.16 MB."""
    path = copy_of("tiny/llama") / "tokenizer_config.json"
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    tokens = {str(256 + n): {"content": f"<unused{n}>", **flags} for n in range(8000)}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"added_tokens_decoder": tokens}, indent=2))
    assert path.stat().st_size > 10**6
    _, model = run(spec_for("tiny/llama", tmp_path / "models"))
    assert model.facts["source"] == "folder"
