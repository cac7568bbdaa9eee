"""Embeddings: as a reference written by hand, and as the folder of the model says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from modelhub.errors import ModelhubError
from modelhub.inference import embeddings
from modelhub.inference.embeddings import embed, pool
from modelhub.limits import PredictionLimits
from modelhub.loader.files.opening import Files
from modelhub.loader.files.pooling import Pooling, read_pooling
from modelhub.loader.finishing import LoadedModel
from tests.support.chat_models import make_random_chat
from tests.support.loads import failure, run, spec_for
from tests.support.task_models import TASK_MODELS

LIMITS = PredictionLimits()
TEXTS = ["hello world", "a", "the cat sat on the mat, and then it went to sleep.", "two words"]
MAKERS = {
    "bert-base": TASK_MODELS["feature-extraction"]["bert-base"],
    "bert-mask": TASK_MODELS["fill-mask"]["bert-mask"],
    "t5": TASK_MODELS["text2text-generation"]["t5"],
    "chat": make_random_chat,
    "bert-classes": TASK_MODELS["text-classification"]["bert-classes"],
    "vit": TASK_MODELS["image-classification"]["vit"],
}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """On a busy machine, the threads of so small a model wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def load(folder: Path) -> Any:
    """``load(name)`` loads one of the tiny models, once."""

    @cache
    def load(name: str) -> LoadedModel:
        MAKERS[name](folder / "tiny" / name)
        return run(spec_for(f"tiny/{name}", folder))[1]

    return load


@pytest.fixture
def model_with(load: Any, tmp_path: Path) -> Any:
    """``model_with(files)``: an encoder as a load returns it that has found ``files`` in its folder."""

    def model_with(files: dict[str, Any]) -> LoadedModel:
        _write(tmp_path, files)
        return replace(load("bert-base"), pooling=read_pooling(Files("tiny/bert-base", tmp_path)))

    return model_with


def _write(folder: Path, files: dict[str, Any]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))


def modules(*kinds: str) -> list[dict[str, Any]]:
    """A modules.json of sentence-transformers."""
    paths = {"Transformer": "", "Pooling": "1_Pooling"}
    return [
        {
            "idx": place,
            "name": str(place),
            "path": paths.get(kind, f"{place}_{kind}"),
            "type": f"sentence_transformers.models.{kind}",
        }
        for place, kind in enumerate(kinds)
    ]


def sentence(*kinds: str, **modes: bool) -> dict[str, Any]:
    """The files that a sentence-transformers model has beside those of its model."""
    settings = {
        "word_embedding_dimension": 32,
        **{f"pooling_mode_{name}": value for name, value in modes.items()},
    }
    return {
        "modules.json": modules(*(kinds or ("Transformer", "Pooling"))),
        "1_Pooling/config.json": settings,
        "sentence_bert_config.json": {"max_seq_length": 30, "do_lower_case": False},
    }


def rows_of(model: LoadedModel, text: str) -> torch.Tensor:
    """The last hidden state of one text, without any padding."""
    ids = model.processor(text, return_tensors="pt")["input_ids"]
    is_pair = model.model.config.is_encoder_decoder
    body = model.model.get_encoder() if is_pair else model.model.base_model
    with torch.inference_mode():
        return body(input_ids=ids).last_hidden_state[0].float()


def vectors(model: LoadedModel, texts: Any = TEXTS, **parameters: Any) -> torch.Tensor:
    return torch.tensor(embed(model, texts, parameters, LIMITS)["embeddings"])


def unit(rows: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack([row / row.norm() for row in rows])


@pytest.mark.parametrize("name", ["bert-base", "bert-mask", "t5"])
def test_the_mean_of_an_encoder(load: Any, name: str) -> None:
    model = load(name)
    wanted = unit([rows_of(model, text).mean(0) for text in TEXTS])
    torch.testing.assert_close(vectors(model), wanted, atol=1e-5, rtol=1e-4)


def test_the_last_token_of_a_decoder(load: Any) -> None:
    model = load("chat")
    wanted = unit([rows_of(model, text)[-1] for text in TEXTS])
    torch.testing.assert_close(vectors(model), wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("modes", "reference"),
    [
        ({"cls_token": True, "mean_tokens": False}, lambda rows: rows[0]),
        ({"max_tokens": True}, lambda rows: rows.max(0).values),
        ({"lasttoken": True}, lambda rows: rows[-1]),
        ({"mean_sqrt_len_tokens": True}, lambda rows: rows.sum(0) / len(rows) ** 0.5),
        (
            {"weightedmean_tokens": True},
            lambda rows: sum((n + 1) * row for n, row in enumerate(rows)) / (len(rows) * (len(rows) + 1) / 2),
        ),
        ({"mean_tokens": True, "cls_token": True}, lambda rows: torch.cat([rows[0], rows.mean(0)])),
    ],
    ids=["first", "max", "last", "root", "weighted", "mean and first"],
)
def test_what_the_folder_says(model_with: Any, modes: dict[str, bool], reference: Any) -> None:
    model = model_with(sentence(**modes))
    texts = TEXTS[:2]
    wanted = [reference(rows_of(model, text)) for text in texts]
    torch.testing.assert_close(vectors(model, texts), torch.stack(wanted), atol=1e-5, rtol=1e-4)
    model = model_with(sentence("Transformer", "Pooling", "Normalize", **modes))
    wanted = [reference(rows_of(model, text)) for text in texts]
    torch.testing.assert_close(vectors(model, texts), unit(wanted), atol=1e-5, rtol=1e-4)


def test_the_names_of_newer_files(model_with: Any) -> None:
    files = {**sentence(), "1_Pooling/config.json": {"embedding_dimension": 32, "pooling_mode": "cls"}}
    model = model_with(files)
    torch.testing.assert_close(vectors(model, "a")[0], rows_of(model, "a")[0], atol=1e-5, rtol=1e-4)


def test_how_many_tokens_there_are_and_in_which_order(load: Any) -> None:
    model = load("bert-base")
    found = embed(model, TEXTS, {}, LIMITS)
    assert found["prompt_tokens"] == sum(len(ids) for ids in model.processor(TEXTS)["input_ids"])
    alone = [embed(model, text, {}, LIMITS)["embeddings"][0] for text in TEXTS]
    torch.testing.assert_close(torch.tensor(found["embeddings"]), torch.tensor(alone), atol=1e-5, rtol=1e-4)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_batches_are_bounded(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load("bert-base")
    wanted = vectors(model, TEXTS * 3)
    monkeypatch.setattr(embeddings, "_MOST_TOKENS", 40)
    monkeypatch.setattr(embeddings, "_MOST_ROWS", 3)
    sizes = []
    handle = model.model.register_forward_pre_hook(
        lambda _, args, named: sizes.append(named["input_ids"].shape), with_kwargs=True
    )
    torch.testing.assert_close(vectors(model, TEXTS * 3), wanted, atol=1e-5, rtol=1e-4)
    handle.remove()
    assert sum(rows for rows, _ in sizes) == len(TEXTS) * 3
    assert all(rows <= 3 and (rows == 1 or rows * longest <= 40) for rows, longest in sizes)


def test_fewer_dimensions(load: Any) -> None:
    model = load("bert-base")
    whole = vectors(model)
    torch.testing.assert_close(vectors(model, dimensions=8), unit(list(whole[:, :8])), atol=1e-5, rtol=1e-4)


def refusal(
    model: LoadedModel, inputs: Any = "a", limits: PredictionLimits = LIMITS, **parameters: Any
) -> str:
    with pytest.raises(ModelhubError) as caught:
        embed(model, inputs, parameters, limits)
    assert caught.value.code == "bad_inputs"
    return f"{caught.value.message} {caught.value.hint}"


def test_a_long_text_is_refused_with_the_numbers_or_cut(model_with: Any) -> None:
    model = model_with(sentence(mean_tokens=True))
    text = "a " * 40
    words = refusal(model, ["a", text])
    assert "text 1 has 42 tokens" in words
    assert "takes 30" in words
    found = embed(model, text, {"truncate": True}, LIMITS)
    assert found["prompt_tokens"] == 30
    torch.testing.assert_close(
        torch.tensor(found["embeddings"][0]), rows_of(model, "a " * 28).mean(0), atol=1e-5, rtol=1e-4
    )


def test_what_is_refused(load: Any) -> None:
    model = load("bert-base")
    for inputs in ([], None, 7, [7], [[1, 2]], {"text": "a"}, ["a", None]):
        assert refusal(model, inputs)
    assert refusal(model, dimensions=33)
    for parameters in ({"dimensions": 0}, {"dimensions": True}, {"truncate": 1}, {"normalize": False}):
        assert refusal(model, **parameters)
    assert "MODELHUB_MAX_INPUTS" in refusal(model, ["a"] * 3, PredictionLimits(max_inputs=2))
    assert "MODELHUB_MAX_OUTPUT_NUMBERS" in refusal(model, "a", PredictionLimits(max_output_numbers=31))
    assert "MODELHUB_MAX_INPUT_BYTES" in refusal(model, "abc", PredictionLimits(max_input_bytes=2))


@pytest.mark.parametrize("name", ["bert-classes", "vit"])
def test_models_of_other_tasks_say_so(load: Any, name: str) -> None:
    assert "no embeddings" in refusal(load(name))


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (sentence("Transformer", "Pooling", "Dense", mean_tokens=True), "a module Dense"),
        (sentence("Transformer", "Pooling", made_up=True), "another way to pool"),
        (sentence("Transformer", "Pooling"), "another way to pool"),
        (sentence("Pooling", "Transformer", mean_tokens=True), "another order"),
        ({"modules.json": "{no json"}, "cannot be read"),
        ({"modules.json": [7]}, "cannot be read"),
        ({"modules.json": "[" * 5_000}, "cannot be read"),
        ({"modules.json": modules("Transformer", "Pooling")}, "is missing"),
        (
            {"modules.json": [modules("Transformer")[0], {"type": "a.Pooling", "path": "../1_Pooling"}]},
            "another folder",
        ),
        ({**sentence(), "1_Pooling/config.json": "{no"}, "cannot be read"),
        ({**sentence(), "1_Pooling/config.json": {"pooling_mode": ["cls", 7]}}, "another way to pool"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_a_folder_that_asks_for_more_says_so(model_with: Any, files: dict[str, Any], words: str) -> None:
    assert words in refusal(model_with(files))


def test_a_load_finds_what_the_folder_says(folder: Path) -> None:
    made = MAKERS["bert-base"](folder / "tiny" / "sentences")
    _write(made, sentence("Transformer", "Pooling", "Normalize", cls_token=True))
    model = run(spec_for("tiny/sentences", folder))[1]
    assert model.pooling == Pooling(("cls",), True, 30)
    torch.testing.assert_close(vectors(model, "a"), unit([rows_of(model, "a")[0]]), atol=1e-5, rtol=1e-4)


def test_a_link_in_the_place_of_the_file_is_refused(folder: Path, tmp_path: Path) -> None:
    made = MAKERS["bert-base"](folder / "tiny" / "linked")
    _write(made, {"modules.json": modules("Transformer", "Pooling")})
    (tmp_path / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    (made / "1_Pooling").mkdir()
    (made / "1_Pooling" / "config.json").symlink_to(tmp_path / "config.json")
    assert failure(spec_for("tiny/linked", folder)).code == "refused"
    (made / "1_Pooling" / "config.json").unlink()
    (made / "1_Pooling").rmdir()
    (made / "1_Pooling").symlink_to(tmp_path)
    assert failure(spec_for("tiny/linked", folder)).code == "refused"


def test_numbers_that_are_none_are_an_error(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load("bert-base")
    weights = model.model.embeddings.word_embeddings
    monkeypatch.setattr(weights, "weight", torch.nn.Parameter(torch.full_like(weights.weight, torch.nan)))
    with pytest.raises(ModelhubError) as caught:
        embed(model, "a", {}, LIMITS)
    assert caught.value.code == "prediction_failed"


def test_what_is_filled_up_counts_in_no_mode() -> None:
    hidden = torch.randn(2, 4, 3)
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
    modes = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
    torch.testing.assert_close(pool(hidden, mask, modes)[:1], pool(hidden[:1, :2], mask[:1, :2], modes))
