"""What libraries do to a prediction: it fails in words, and the model goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import tokenizers
import torch

from modelhub.errors import ModelhubError
from modelhub.inference.pipelines import Predictor
from modelhub.limits import PredictionLimits
from tests.support.loads import run, spec_for
from tests.support.task_models import TASK_MODELS


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = tmp_path_factory.mktemp("models")
    TASK_MODELS["token-classification"]["bert-tokens"](folder / "tiny" / "bert-tokens")
    return Predictor(run(spec_for("tiny/bert-tokens", folder))[1])


def _panic() -> None:
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.enable_truncation(max_length=2, stride=2)
    tokenizer.encode("a b a b a b")  # no Exception of Python


def _exit() -> None:
    raise SystemExit(3)


def _allocate() -> None:
    bytearray(2**60)


def _allocate_a_tensor() -> None:
    torch.empty(2**60, dtype=torch.uint8)


def _call_itself() -> None:
    _call_itself()


@pytest.mark.parametrize(
    ("function", "words_of_it"),
    [
        (_panic, "gave up (PanicException)"),
        (_exit, "gave up (SystemExit)"),
        (_allocate, "more memory than its process may take"),
        (_allocate_a_tensor, "more memory than its process may take"),
        (_call_itself, "too deeply"),
    ],
)
def test_whatever_is_raised_is_a_failed_prediction(
    words: Predictor, function: Callable[[], None], words_of_it: str
) -> None:
    hook = words.loaded.model.register_forward_pre_hook(lambda *_: function())
    with pytest.raises(ModelhubError) as caught:
        words.predict("word", {})
    hook.remove()
    assert caught.value.code == "prediction_failed"
    assert words_of_it in caught.value.message
    assert words.predict("word", {"ignore_labels": []})


def test_a_result_that_is_too_large_is_refused(made: Path) -> None:
    bert = Predictor(run(spec_for("tiny/bert", made))[1])
    few = PredictionLimits(max_output_numbers=5)
    with pytest.raises(ModelhubError) as caught:
        bert.predict("hello [MASK]", {"top_k": 5}, few)
    assert caught.value.code == "bad_inputs"
    assert "MODELHUB_MAX_OUTPUT_NUMBERS" in caught.value.hint
