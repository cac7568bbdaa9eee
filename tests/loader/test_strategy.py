"""Choices that a load makes from the configuration and the headers alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, CLIPConfig, LlamaConfig, ViTConfig

from modelhub.checkpoints import LoadSpec
from modelhub.errors import ModelhubError
from modelhub.loader import strategy
from modelhub.loader.files.headers import Tensor
from modelhub.loader.files.opening import Files, WeightFile

FILES = Files("m", Path("m"))


def _weights(*tensors: tuple[str, str, tuple[int, ...], int]) -> tuple[WeightFile, ...]:
    return (WeightFile("w", Path("w"), 0, tuple(Tensor(*tensor) for tensor in tensors)),)


def test_need_bytes_is_exact_for_each_dtype() -> None:
    weights = _weights(
        ("a", "F32", (10, 3), 120), ("b", "BF16", (7,), 14), ("n", "I64", (2,), 16), ("q", "U8", (100,), 100)
    )
    assert strategy.need_bytes(weights, torch.float32) == 4 * 37 + 16 + 100
    assert strategy.need_bytes(weights, torch.float16) == 2 * 37 + 16 + 100


@pytest.mark.parametrize(
    ("requested", "configured", "expected"),
    [
        ("auto", None, torch.float16),
        ("auto", torch.bfloat16, torch.bfloat16),
        ("auto", "float32", torch.float32),
        ("float64", torch.bfloat16, torch.float64),
    ],
)
def test_dtype(requested: str, configured: Any, expected: torch.dtype) -> None:
    weights = _weights(("a", "F32", (10,), 40), ("b", "F16", (30,), 60))
    config = BertConfig(dtype=configured)
    assert strategy._choose_dtype(LoadSpec("m", "", "", dtype=requested), config, weights) == expected


@pytest.mark.parametrize(
    ("config", "name", "task"),
    [
        (LlamaConfig(architectures=["LlamaForCausalLM"]), "LlamaForCausalLM", "text-generation"),
        (LlamaConfig(architectures=["LlamaForSequenceClassification"]), None, "text-classification"),
        (BertConfig(architectures=["BertForTokenClassification"]), None, "token-classification"),
        (BertConfig(architectures=["BertForQuestionAnswering"]), None, "question-answering"),
        (BertConfig(architectures=["BertForMultipleChoice"]), "BertForMultipleChoice", None),
        (BertConfig(architectures=["BertModel"]), "BertModel", "feature-extraction"),
        (BertConfig(architectures=None), "BertModel", "feature-extraction"),
        (BertConfig(architectures=["BertTokenizer"]), "BertModel", "feature-extraction"),
        (BertConfig(architectures=["Unknown", "BertForMaskedLM"]), "BertForMaskedLM", "fill-mask"),
        (ViTConfig(architectures=["ViTModel"]), "ViTModel", "image-feature-extraction"),
        (CLIPConfig(architectures=["CLIPModel"]), "CLIPModel", "zero-shot-image-classification"),
    ],
)
def test_class_and_task(config: Any, name: str | None, task: str | None) -> None:
    model_class, chosen = strategy.choose_class(FILES, config)
    assert (model_class.__name__, chosen) == (name or config.architectures[0], task)


@pytest.mark.parametrize(
    ("available", "chosen"),
    [(("cuda", "mps"), "cuda"), (("cuda",), "cuda"), (("mps",), "mps"), ((), "cpu")],
)
def test_device_auto_prefers_cuda_then_mps_then_cpu(
    monkeypatch: pytest.MonkeyPatch, available: tuple[str, ...], chosen: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in available)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in available)
    assert strategy.choose_device("auto") == torch.device(chosen)
    assert strategy.choose_device("cpu") == torch.device("cpu")
    for kind in ("cuda", "mps"):
        if kind in available:
            assert strategy.choose_device(kind) == torch.device(kind)
        else:
            assert _device_error(kind) == "no_device"
    assert _device_error("quantum") == "no_device"


def _device_error(device: str) -> str:
    with pytest.raises(ModelhubError) as caught:
        strategy.choose_device(device)
    return caught.value.code
