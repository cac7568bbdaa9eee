"""Predictions through the pipeline of a model's task, with JSON in and out."""

from __future__ import annotations

import base64
import io
import json
import math
import wave
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import pipeline

from modelhub.errors import ModelhubError
from modelhub.inference.pipelines import Predictor
from tests.support.loads import run, spec_for

TONE = [math.sin(n / 5) for n in range(8000)]


def _image(colour: str = "teal", kind: str = "PNG") -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(buffer, kind)
    return f"data:image/{kind.lower()};base64," + base64.b64encode(buffer.getvalue()).decode()


def _wave(width: int = 2, channels: int = 1) -> str:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(16000)
        scale, offset = (127, 128) if width == 1 else (2 ** (8 * width - 1) - 1, 0)
        samples = [round(value * scale) + offset for value in TONE for _ in range(channels)]
        file.writeframes(b"".join(value.to_bytes(width, "little", signed=width > 1) for value in samples))
    return "data:audio/wav;base64," + base64.b64encode(buffer.getvalue()).decode()


@pytest.fixture(scope="module")
def loaded(made: Path) -> Any:
    """``loaded(name)`` predicts with one of the tiny models."""
    models: dict[str, Predictor] = {}

    def load(name: str) -> Predictor:
        if name not in models:
            models[name] = Predictor(run(spec_for(f"tiny/{name}", made))[1])
        return models[name]

    return load


def _predict(model: Predictor, inputs: Any, **parameters: Any) -> Any:
    output = model.predict(inputs, parameters)
    assert json.loads(json.dumps(output, allow_nan=False)) == output
    return output


def test_text_generation(loaded: Any) -> None:
    first, second = (_predict(loaded("llama"), "hello", max_new_tokens=4, do_sample=False) for _ in range(2))
    assert first == second
    assert first[0]["generated_text"].startswith("hello")
    batch = _predict(loaded("llama"), ["a", "b"], max_new_tokens=2, do_sample=False)
    assert [row[0]["generated_text"][0] for row in batch] == ["a", "b"]


def test_the_same_as_transformers_own_pipeline(loaded: Any, made: Path) -> None:
    theirs = pipeline("fill-mask", model=str(made / "tiny/bert"), device="cpu")("hello [MASK]", top_k=3)
    ours = _predict(loaded("bert"), "hello [MASK]", top_k=3)
    assert [row["token_str"] for row in ours] == [row["token_str"] for row in theirs]
    assert [row["score"] for row in ours] == [row["score"] for row in theirs]


def test_image_classification(loaded: Any) -> None:
    for kind in ("PNG", "JPEG", "WEBP"):
        rows = _predict(loaded("vit"), _image(kind=kind))
        assert {row["label"] for row in rows} == {"red", "green", "blue"}
        assert sum(row["score"] for row in rows) == pytest.approx(1)
    assert len(_predict(loaded("vit"), [_image(), _image("red")])) == 2


def test_speech(loaded: Any) -> None:
    from_list = _predict(loaded("wav2vec2"), {"raw": TONE, "sampling_rate": 16000})
    assert isinstance(from_list["text"], str)
    texts = [
        _predict(loaded("wav2vec2"), _wave(width, channels)) for width, channels in ((2, 1), (4, 1), (2, 2))
    ]
    assert all(text == from_list for text in texts)
    assert isinstance(_predict(loaded("wav2vec2"), _wave(1))["text"], str)


def test_images_against_texts(loaded: Any) -> None:
    inputs = {"image": _image(), "candidate_labels": ["a cat", "a dog"]}
    rows = _predict(loaded("clip"), _image(), candidate_labels=["a cat", "a dog"])
    assert {row["label"] for row in rows} == {"a cat", "a dog"}
    assert _predict(loaded("clip"), inputs) == rows


def test_text_to_text(loaded: Any) -> None:
    (row,) = _predict(loaded("t5"), "translate", max_new_tokens=4, do_sample=False)
    assert isinstance(row["generated_text"], str)
    assert len(_predict(loaded("t5"), ["a", "a longer one"], max_new_tokens=2)) == 2


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("llama", ""),
        ("llama", None),
        ("llama", []),
        ("llama", {"url": "http://127.0.0.1/x"}),
        ("llama", [{"role": "user", "content": [{"type": "image", "url": "http://127.0.0.1/x"}]}]),
        ("bert", "there is no mask"),
        ("vit", "http://127.0.0.1:9/x.png"),
        ("vit", "/etc/passwd"),
        ("vit", "data:image/png;base64,AAAA"),
        ("vit", "data:image/png,AAAA"),
        ("vit", "data:image/png;base64,###"),
        ("vit", ["/etc/passwd"]),
        ("vit", {"images": "file:///etc/passwd"}),
        ("vit", {"url": "data:image/png;base64,AAAA"}),
        ("vit", 7),
        ("wav2vec2", "http://127.0.0.1:9/x.wav"),
        ("wav2vec2", "/etc/passwd"),
        ("wav2vec2", ["/etc/passwd"]),
        ("wav2vec2", {"raw": "/etc/passwd", "sampling_rate": 16000}),
        ("wav2vec2", {"raw": ["a"], "sampling_rate": 16000}),
        ("wav2vec2", {"raw": [], "sampling_rate": 16000}),
        ("wav2vec2", {"raw": TONE, "sampling_rate": 0}),
        ("wav2vec2", {"raw": TONE, "sampling_rate": 16000, "path": "/etc/passwd"}),
        ("wav2vec2", "data:audio/wav;base64,AAAA"),
        ("clip", {"image": "/etc/passwd", "candidate_labels": ["a"]}),
        ("clip", {"image": _image(), "candidate_labels": ["a"], "images": "/etc/passwd"}),
        ("clip", _image()),
        ("t5", {"a": 1}),
    ],
)
def test_inputs_that_cannot_be_used(loaded: Any, name: str, inputs: Any) -> None:
    with pytest.raises(ModelhubError) as caught:
        loaded(name).predict(inputs, {})
    assert caught.value.code == "bad_inputs"
    assert caught.value.hint


@pytest.mark.parametrize(
    "parameters",
    [
        {"custom_generate": "evil/code"},
        {"assistant_model": "evil/model"},
        {"trust_remote_code": True},
        {"tokenizer": "evil/model"},
        {"no_such_thing": 1},
        {"generate_kwargs": {"custom_generate": "evil/code"}},
        {"max_new_tokens": "many"},
    ],
)
def test_parameters_that_cannot_be_used(loaded: Any, parameters: dict[str, Any]) -> None:
    with pytest.raises(ModelhubError) as caught:
        loaded("llama").predict("hello", parameters)
    assert caught.value.code == "bad_inputs"


def test_a_model_without_its_tokenizer_fails_to_predict_and_names_it(loaded: Any) -> None:
    with pytest.raises(ModelhubError) as caught:
        loaded("whisper").predict({"raw": TONE, "sampling_rate": 16000}, {})
    assert caught.value.code == "bad_inputs"
    assert "tokenizer" in caught.value.message


def test_predictions_compute_no_gradients(loaded: Any) -> None:
    _predict(loaded("bert"), "hello [MASK]")
    assert not any(parameter.grad is not None for parameter in loaded("bert").loaded.model.parameters())
    assert torch.is_grad_enabled()
