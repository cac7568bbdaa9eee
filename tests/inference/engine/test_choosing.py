"""How tokens are chosen: as asked, and by random numbers that no other answer changes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import pytest
import torch

from modelhub.loader.finishing import LoadedModel
from tests.inference.engine.conftest import WORDS, Client, alone, prompt

TOKENS = 30
HOT = {"temperature": 3.0, "top_k": 0}
ClientOf = Callable[..., Client]


def _logits(llama: LoadedModel, ids: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = llama.model(torch.tensor([ids])).logits[0, -1]
    return logits


@pytest.mark.parametrize("exact", [False, True], ids=["packed", "exact"])
def test_the_same_seed_gives_the_same_answer_whoever_else_asks(
    llama: LoadedModel, client_of: ClientOf, exact: bool
) -> None:
    client = client_of(llama, exact=exact)
    one = client.ask(prompt(5), TOKENS, seed=3, **HOT)
    client.run()
    others = [client.ask(prompt(9, seed), TOKENS, **HOT) for seed in (1, 2)]
    same, another = client.ask(prompt(5), TOKENS, seed=3, **HOT), client.ask(prompt(5), TOKENS, seed=4, **HOT)
    client.run()
    assert all(other.finish for other in others)
    assert same.tokens == one.tokens
    assert another.tokens != one.tokens


def test_without_a_seed_answers_differ(client: Client) -> None:
    answers = [client.ask(prompt(5), TOKENS, **HOT) for _ in range(2)]
    client.run()
    assert answers[0].tokens != answers[1].tokens


@pytest.mark.parametrize("asked", [{"top_k": 3}, {"top_p": 0.15, "top_k": 0}, {"min_p": 0.985, "top_k": 0}])
def test_only_the_likeliest_tokens_are_chosen(
    llama: LoadedModel, client: Client, asked: dict[str, float]
) -> None:
    probabilities = _logits(llama, prompt(5)).softmax(-1).sort(descending=True)
    if "top_p" in asked:
        count = int((probabilities.values.cumsum(-1) < asked["top_p"]).sum()) + 1
    elif "min_p" in asked:
        count = int((probabilities.values >= asked["min_p"] * probabilities.values[0]).sum())
    else:
        count = int(asked["top_k"])
    assert 1 < count < 20
    answers = [client.ask(prompt(5), 1, temperature=1.0, seed=seed, **asked) for seed in range(60)]
    client.run()
    chosen = {answer.tokens[0] for answer in answers}
    assert len(chosen) > 1
    assert chosen <= set(probabilities.indices[:count].tolist())


@pytest.mark.parametrize("exact", [False, True], ids=["packed", "exact"])
def test_penalties_and_biases_change_the_scores(llama: LoadedModel, client_of: ClientOf, exact: bool) -> None:
    client = client_of(llama, exact=exact)
    plain = client.ask(prompt(5), TOKENS)
    repeated = client.ask(prompt(5), TOKENS, repetition_penalty=1.5)
    varied = client.ask(prompt(5), TOKENS, presence_penalty=2.0, frequency_penalty=2.0)
    biased = client.ask(prompt(5), TOKENS, logit_bias={"11": 100.0})
    client.run()
    assert repeated.tokens == alone(llama, prompt(5), TOKENS, repetition_penalty=1.5)
    assert Counter(plain.tokens).most_common(1)[0][1] > 1
    assert len(set(varied.tokens)) > len(set(plain.tokens))
    assert biased.tokens == [11] * TOKENS


@pytest.mark.parametrize("exact", [False, True], ids=["packed", "exact"])
def test_logprobs_are_those_of_the_model(llama: LoadedModel, client_of: ClientOf, exact: bool) -> None:
    client = client_of(llama, exact=exact)
    answer = client.ask(prompt(5), 3, logprobs=4, repetition_penalty=1.3)
    other = client.ask(prompt(9), 3)
    client.run()
    entries = [entry for frame in answer.frames for entry in frame.get("logprobs", [])]
    assert len(entries) == 3
    ids = prompt(5)
    for entry, token in zip(entries, answer.tokens, strict=True):
        expected = _logits(llama, ids).log_softmax(-1)
        assert math.isclose(entry["logprob"], float(expected[token]), abs_tol=1e-4)
        best = expected.topk(4).values.tolist()
        assert [one["logprob"] for one in entry["top"]] == pytest.approx(best, abs=1e-4)
        ids.append(token)
    assert not any("logprobs" in frame for frame in other.frames)


def test_a_model_that_samples_does_so_unless_it_is_asked_not_to(llama: LoadedModel, client: Client) -> None:
    config = llama.model.generation_config
    config.do_sample, config.temperature, config.top_k = True, 3.0, WORDS
    try:
        own, greedy = client.ask(prompt(5), TOKENS), client.ask(prompt(5), TOKENS, temperature=0.0)
        client.run()
    finally:
        config.do_sample, config.temperature, config.top_k = None, None, None
    assert greedy.tokens == alone(llama, prompt(5), TOKENS)
    assert own.tokens != greedy.tokens
