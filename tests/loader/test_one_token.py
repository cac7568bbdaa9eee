"""oneDNN is off exactly while one token is fed to a decoder of bfloat16 on the CPU."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch

from modelhub.inference.pipelines import Predictor
from modelhub.loader.one_token import feed_one_token_quickly
from tests.support.loads import run, spec_for

ONE, TWO = torch.tensor([[1]]), torch.tensor([[1, 2]])


def is_on() -> bool:
    return bool(torch._C._get_mkldnn_enabled())  # type: ignore[attr-defined]


class Recorder:
    """What oneDNN was during each call of a module's forward."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.calls: list[bool] = []
        module.register_forward_pre_hook(lambda *_: self.calls.append(is_on()))

    def during(self, model: Any, *args: Any, **kwargs: Any) -> bool:
        """What it was in a call of ``model``; it is on again afterwards."""
        before = len(self.calls)
        with torch.inference_mode():
            model(*args, **kwargs)
        assert is_on()
        return self.calls[before]


def loaded(made: Path, name: str = "tiny/llama", **more: Any) -> tuple[Any, Recorder]:
    _, model = run(spec_for(name, made, **more))
    first = next(module for module in model.model.modules() if isinstance(module, torch.nn.Linear))
    return model, Recorder(first)


def test_only_one_token_is_fed_without(made: Path) -> None:
    assert is_on()
    model, recorder = loaded(made)
    assert not recorder.during(model.model, ONE)
    assert not recorder.during(model.model, input_ids=ONE)
    assert not recorder.during(model.model, input_ids=ONE, attention_mask=torch.ones_like(ONE))
    assert recorder.during(model.model, TWO)
    assert recorder.during(model.model, input_ids=TWO)
    assert recorder.during(model.model, input_ids=torch.tensor([[1], [2]])), "a batch of two has two rows"
    embeds = torch.zeros(1, 1, model.model.config.hidden_size, dtype=torch.bfloat16)
    assert recorder.during(model.model, inputs_embeds=embeds)


def test_it_is_on_again_after_an_exception(made: Path) -> None:
    model, _ = loaded(made)
    with pytest.raises(IndexError):
        model.model(torch.tensor([[10**6]]))
    assert is_on()


def test_it_stays_off_where_it_was_off(made: Path) -> None:
    model, _ = loaded(made)
    set_flags: Any = torch.backends.mkldnn.set_flags
    set_flags(False)
    try:
        with torch.inference_mode():
            model.model(ONE)
        assert not is_on()
    finally:
        set_flags(True)


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("tiny/llama", {"exact": True}),
        ("tiny/llama", {"dtype": "float32"}),
        ("tiny/llama", {"dtype": "float16"}),
        ("tiny/t5", {"dtype": "bfloat16"}),
    ],
)
def test_any_other_model_keeps_it(made: Path, name: str, more: dict[str, Any]) -> None:
    model, recorder = loaded(made, name, **more)
    decoder = {"decoder_input_ids": ONE} if model.model.config.is_encoder_decoder else {}
    assert recorder.during(model.model, input_ids=ONE, **decoder)
    assert "forward" not in vars(model.model)


def test_another_device_keeps_it() -> None:
    model = torch.nn.Linear(2, 2, dtype=torch.bfloat16, device="meta")
    model.config = type("Config", (), {})()
    model.device, model.dtype = torch.device("meta"), torch.bfloat16
    feed_one_token_quickly(model)
    assert "forward" not in vars(model)


def test_a_prediction_generates_its_tokens_through_it(made: Path) -> None:
    model, recorder = loaded(made)
    outputs = Predictor(model).predict("hello", {"max_new_tokens": 6, "do_sample": False})
    assert outputs[0]["generated_text"].startswith("hello")
    assert recorder.calls[0], "the prompt is more than one token"
    assert recorder.calls[1:]
    assert not any(recorder.calls[1:])
    assert is_on()


def test_what_forward_takes_can_still_be_asked(made: Path) -> None:
    """transformers and modelhub look at its parameters to find out what a model takes."""
    model, _ = loaded(made)
    taken = inspect.signature(model.model.forward).parameters
    assert {"input_ids", "attention_mask", "past_key_values"} <= set(taken)


def test_the_logits_are_close_and_with_exact_equal(made: Path) -> None:
    quick, _ = loaded(made)
    exact, _ = loaded(made, exact=True)
    plain = type(exact.model).from_pretrained(made / "tiny/llama")
    with torch.inference_mode():
        ours, theirs, expected = (model(ONE).logits for model in (quick.model, exact.model, plain))
    assert torch.equal(theirs, expected)
    assert torch.allclose(ours.float(), expected.float(), atol=0.02)
