"""What the engine writes is what ``model.generate`` writes, however many it writes at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import (
    DiffLlamaConfig,
    DiffLlamaForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from modelhub.loader.finishing import LoadedModel
from tests.inference.engine.conftest import SIZES, Client, alone, prompt, with_words

LENGTHS = (5, 700, 33, 2)  # the second one is fed in several passes
TOKENS = 12
ClientOf = Callable[..., Client]


def _gemma() -> Any:
    """Three layers of four see a window, the fourth one sees all."""
    sizes = {**SIZES, "num_hidden_layers": 4, "head_dim": 8}
    kinds = ["sliding_attention"] * 3 + ["full_attention"]
    return Gemma3ForCausalLM(
        Gemma3TextConfig(**sizes, sliding_window=8, query_pre_attn_scalar=8, layer_types=kinds)
    )


_SMALL = {name: SIZES[name] for name in ("vocab_size", "hidden_size", "num_hidden_layers", "pad_token_id")}
MODELS: dict[str, Callable[[], Any]] = {
    "tied": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES, tie_word_embeddings=True)),
    "window": lambda: MistralForCausalLM(MistralConfig(**SIZES, sliding_window=16)),
    "some windows": _gemma,
    "learned positions": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=96, n_embd=32, n_layer=2, n_head=4, n_positions=1024)
    ),
    "state space": lambda: MambaForCausalLM(MambaConfig(**_SMALL, state_size=8)),
}


@pytest.mark.parametrize("exact", [False, True], ids=["packed", "exact"])
def test_answers_that_are_written_together_are_those_of_generate(
    llama: LoadedModel, client_of: ClientOf, exact: bool
) -> None:
    client = client_of(llama, exact=exact)
    prompts = [prompt(length, length) for length in LENGTHS]
    answers = [client.ask(ids, TOKENS) for ids in prompts]
    client.run()
    assert [one.tokens for one in answers] == [alone(llama, ids, TOKENS) for ids in prompts]
    for ids, answer in zip(prompts, answers, strict=True):
        assert answer.has_begun
        assert answer.finish["reason"] == "length"
        usage = {"prompt_tokens": len(ids), "cached_tokens": 0, "completion_tokens": TOKENS}
        assert answer.finish["usage"] == {**usage, "reasoning_tokens": 0}
        assert all(seconds >= 0 for seconds in answer.finish["timings"].values())


@pytest.mark.parametrize("kind", list(MODELS))
def test_models_of_other_kinds_write_what_generate_writes(kind: str, client_of: ClientOf) -> None:
    loaded = with_words(MODELS[kind]())
    client = client_of(loaded)
    prompts = [prompt(length, length) for length in (5, 33, 2)]
    answers = [client.ask(ids, TOKENS) for ids in prompts]
    client.run()
    assert [one.error for one in answers] == [None] * 3
    assert [one.tokens for one in answers] == [alone(loaded, ids, TOKENS) for ids in prompts]


def test_exact_answers_in_bfloat16_are_those_of_generate(client_of: ClientOf) -> None:
    config = Qwen2Config(**SIZES, tie_word_embeddings=True)
    loaded = with_words(Qwen2ForCausalLM(config).to(torch.bfloat16))
    client = client_of(loaded, exact=True)
    prompts = [prompt(length, length) for length in (9, 40, 3)]
    answers = [client.ask(ids, 2 * TOKENS) for ids in prompts]
    client.run()
    assert [one.tokens for one in answers] == [alone(loaded, ids, 2 * TOKENS) for ids in prompts]


def test_an_answer_that_joins_midway_changes_no_other(llama: LoadedModel, client: Client) -> None:
    first = client.ask(prompt(20, 1), 3 * TOKENS)
    client.run(until=lambda: len(first.tokens) > 5)
    second = client.ask(prompt(90, 2), TOKENS)
    client.run(until=lambda: len(second.tokens) > 2)
    third = client.ask(prompt(4, 3), 1)
    client.run()
    assert first.tokens == alone(llama, prompt(20, 1), 3 * TOKENS)
    assert second.tokens == alone(llama, prompt(90, 2), TOKENS)
    assert third.tokens == alone(llama, prompt(4, 3), 1)


def test_tokens_come_one_by_one(client: Client) -> None:
    answer = client.ask(prompt(5), TOKENS)
    seen = []
    while client.engine.has_work:
        client.engine.step()
        seen.append(len(answer.tokens))
    assert seen == list(range(1, TOKENS + 1))


def test_more_than_fit_wait_for_their_turn_and_short_ones_leave(
    llama: LoadedModel, client_of: ClientOf
) -> None:
    client = client_of(llama, most_rows=2)
    long = client.ask(prompt(5, 1), 50)
    short = [client.ask(prompt(5, seed), 2) for seed in (2, 3, 4)]
    client.engine.step()
    assert [one.has_begun for one in (long, *short)] == [True, True, False, False]
    client.run(until=lambda: short[-1].finish)
    assert all(one.finish for one in short)
    assert len(long.tokens) < 20
    client.run()
    assert long.tokens == alone(llama, prompt(5, 1), 50)


def test_a_short_prompt_goes_before_the_rest_of_a_long_one(client: Client) -> None:
    long = client.ask(prompt(3_000), 1)
    client.engine.step()
    short = client.ask(prompt(10), 1)
    client.engine.step()
    assert short.finish
    assert not long.finish
    client.run()
    assert long.finish


def test_answers_under_way_go_on_while_a_long_prompt_is_read(client: Client) -> None:
    writing = client.ask(prompt(5), 100)
    client.run(until=lambda: writing.tokens)
    before = len(writing.tokens)
    long = client.ask(prompt(3_000), 1)
    steps = 0
    while not long.finish:
        client.engine.step()
        steps += 1
    assert steps >= 3_000 // 512
    assert len(writing.tokens) == before + steps


def test_an_end_token_ends_the_answer(llama: LoadedModel, client: Client) -> None:
    written = alone(llama, prompt(8), TOKENS)
    llama.model.generation_config.eos_token_id = [written[3]]
    try:
        answer, going_on = client.ask(prompt(8), TOKENS), client.ask(prompt(8), TOKENS, ignore_eos=True)
        later = client.ask(prompt(8), TOKENS, min_new_tokens=6)
        client.run()
    finally:
        llama.model.generation_config.eos_token_id = None
    assert answer.finish["reason"] == "stop"
    assert answer.finish["usage"]["completion_tokens"] == 1 + written.index(written[3])
    assert going_on.tokens == written
    assert later.tokens[:3] == written[:3]
    assert written[3] not in later.tokens[:6]


def test_a_stop_text_ends_the_answer(llama: LoadedModel, client: Client) -> None:
    written = alone(llama, prompt(8), TOKENS)
    answer = client.ask(prompt(8), TOKENS, stop=[f"w{written[4]}"])
    client.run()
    assert answer.finish["reason"] == "stop"
    assert answer.tokens == written[: written.index(written[4])]


def test_a_request_that_is_wrong_fails_alone(llama: LoadedModel, client: Client) -> None:
    right, wrong = client.ask(prompt(5), TOKENS), client.ask([], TOKENS)
    assert wrong.error is not None
    assert wrong.error.code == "bad_inputs"
    client.run()
    assert right.tokens == alone(llama, prompt(5), TOKENS)


def test_a_model_with_beams_is_left_to_generate(client_of: ClientOf) -> None:
    loaded = with_words(Qwen2ForCausalLM(Qwen2Config(**SIZES)))
    loaded.model.generation_config.num_beams = 3
    client = client_of(loaded)
    answers = [client.ask(prompt(5, seed), 6) for seed in (1, 2)]
    client.run()
    assert [one.tokens for one in answers] == [alone(loaded, prompt(5, seed), 6) for seed in (1, 2)]


def test_beams_end_once_they_have_the_fewest_tokens(client_of: ClientOf) -> None:
    loaded = with_words(Qwen2ForCausalLM(Qwen2Config(**SIZES)))
    config = loaded.model.generation_config
    config.num_beams = 3
    ends = config.eos_token_id = list(range(1, loaded.model.config.vocab_size, 2))
    client = client_of(loaded)
    answers = [client.ask(prompt(5, seed), TOKENS, min_new_tokens=1) for seed in range(4)]
    client.run()
    for seed, answer in enumerate(answers):
        *written, last = alone(loaded, prompt(5, seed), TOKENS, min_new_tokens=1)
        assert written
        assert last in ends
        assert answer.tokens == written
        assert answer.finish["reason"] == "stop"


def test_a_model_that_only_seems_to_fit_is_left_to_generate(client_of: ClientOf) -> None:
    loaded = with_words(DiffLlamaForCausalLM(DiffLlamaConfig(**SIZES)))
    client = client_of(loaded)
    answers = [client.ask(prompt(5, seed), 6) for seed in (1, 2)]
    client.run()
    assert [one.tokens for one in answers] == [alone(loaded, prompt(5, seed), 6) for seed in (1, 2)]
