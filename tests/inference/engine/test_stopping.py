"""A request ends at any moment: while it waits, while its prompt is read, while it is answered, when late."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from modelhub.loader.finishing import LoadedModel
from tests.inference.engine.conftest import SIZES, Client, alone, prompt, with_words

TOKENS = 12
ClientOf = Callable[..., Client]
WAYS = pytest.mark.parametrize("exact", [False, True], ids=["packed", "exact"])


@pytest.fixture(scope="module")
def slow() -> LoadedModel:
    """A model whose layers take 30 ms each, and a pass 1.2 s."""
    sizes = {**SIZES, "num_hidden_layers": 40}
    loaded = with_words(LlamaForCausalLM(LlamaConfig(**sizes)))

    def wait(_: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        if inputs[0].shape[1] > 100:
            time.sleep(0.03)

    for layer in loaded.model.model.layers:
        layer.mlp.register_forward_pre_hook(wait)
    return loaded


def _in_a_moment(function: Callable[[], None], seconds: float = 0.15) -> list[float]:
    """Call it in another thread; the list gets the moment."""
    moments: list[float] = []

    def call() -> None:
        moments.append(time.monotonic())
        function()

    threading.Timer(seconds, call).start()
    return moments


@WAYS
def test_one_that_waits_is_stopped(llama: LoadedModel, client_of: ClientOf, exact: bool) -> None:
    client = client_of(llama, exact=exact, most_rows=1)
    first, second = client.ask(prompt(5), TOKENS), client.ask(prompt(6), TOKENS)
    client.engine.step()
    client.engine.stop(second.number)
    client.run()
    assert second.error is not None
    assert not second.has_begun
    assert first.tokens == alone(llama, prompt(5), TOKENS)


@WAYS
def test_an_answer_is_stopped_and_the_others_are_not(
    llama: LoadedModel, client_of: ClientOf, exact: bool
) -> None:
    client = client_of(llama, exact=exact)
    stopped, other = client.ask(prompt(5), 1_000), client.ask(prompt(6), TOKENS)
    client.run(until=lambda: len(stopped.tokens) > 3)
    client.engine.stop(stopped.number)
    client.run()
    assert stopped.error is not None
    assert stopped.error.code == "prediction_failed"
    assert len(stopped.tokens) < 6
    assert other.tokens == alone(llama, prompt(6), TOKENS)


@WAYS
def test_a_prompt_is_stopped_within_a_layer(slow: LoadedModel, client_of: ClientOf, exact: bool) -> None:
    client = client_of(slow, exact=exact)
    answer = client.ask(prompt(400), TOKENS)
    stopped = _in_a_moment(lambda: client.engine.stop(answer.number))
    client.run()
    assert answer.failed_at - stopped[0] < 0.9
    assert answer.error is not None
    assert not client.engine.has_work
    again = client.ask(prompt(5), TOKENS)
    client.run()
    assert again.tokens == alone(slow, prompt(5), TOKENS)


@WAYS
def test_one_that_takes_too_long_is_ended(slow: LoadedModel, client_of: ClientOf, exact: bool) -> None:
    client = client_of(slow, exact=exact)
    answer, other = client.ask(prompt(400), TOKENS, seconds=0.2), client.ask(prompt(5), TOKENS)
    began = time.monotonic()
    client.run()
    assert answer.failed_at - began < 1.2
    assert answer.error is not None
    assert answer.error.code == "prediction_timeout"
    assert other.tokens == alone(slow, prompt(5), TOKENS)


def test_a_long_prompt_makes_way_for_another_request(slow: LoadedModel, client_of: ClientOf) -> None:
    client = client_of(slow)
    long = client.ask(prompt(400), 1)
    noticed = _in_a_moment(client.engine.notice)
    client.engine.step()
    assert time.monotonic() - noticed[0] < 0.9
    short = client.ask(prompt(5), 1)
    client.run(until=lambda: short.finish)
    assert not long.finish
    client.run()
    assert long.tokens == alone(slow, prompt(400), 1)


def test_a_long_prompt_makes_way_once(slow: LoadedModel, client_of: ClientOf) -> None:
    client = client_of(slow)
    long = client.ask(prompt(400), 1)
    _in_a_moment(client.engine.notice)
    client.engine.step()
    assert not long.finish
    _in_a_moment(client.engine.notice)
    client.engine.step()
    assert long.finish


@WAYS
def test_others_go_on_while_a_prompt_is_read_that_is_answered_alone(
    slow: LoadedModel, client_of: ClientOf, exact: bool
) -> None:
    client = client_of(slow, exact=exact)
    writing = client.ask(prompt(5), 100)
    client.run(until=lambda: writing.tokens)
    long = client.ask(prompt(150), 1)
    before = len(writing.tokens)
    client.run(until=lambda: long.finish)
    assert len(writing.tokens) > before
