"""The next turn of a conversation goes on where the last one ended, within bounds."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest
import torch

from modelhub import memory
from modelhub.inference.engine.conversations import Conversations, common_length
from modelhub.inference.engine.packed_cache import RowCache
from modelhub.loader.allocator import give_back
from modelhub.loader.finishing import LoadedModel
from tests.inference.engine.conftest import Client, alone, prompt

TOKENS = 12
TOKEN_BYTES = 3 * 2 * 2 * 8 * 4  # layers, keys and values, heads, their size, bytes of a number
ClientOf = Callable[..., Client]


def _cached(answer: object) -> int:
    return int(answer.finish["usage"]["cached_tokens"])  # type: ignore[attr-defined]


def test_turn_two_reads_only_what_is_new(llama: LoadedModel, client: Client) -> None:
    first = client.ask(prompt(600), TOKENS)
    client.run()
    assert len(client.engine.conversations) == 1
    assert client.engine.conversations.nbytes == (600 + TOKENS - 1) * TOKEN_BYTES
    turn_two = prompt(600) + first.tokens + prompt(7, 1)
    second = client.ask(turn_two, TOKENS)
    client.run()
    assert _cached(second) == 600 + TOKENS - 1
    assert second.tokens == alone(llama, turn_two, TOKENS)
    assert len(client.engine.conversations) == 1


def test_the_same_question_again_reads_one_token(llama: LoadedModel, client: Client) -> None:
    answers = []
    for _ in range(2):
        answers.append(client.ask(prompt(50), TOKENS))
        client.run()
    assert [_cached(one) for one in answers] == [0, 49]
    assert answers[0].tokens == answers[1].tokens == alone(llama, prompt(50), TOKENS)


def test_conversations_with_the_same_beginning_share_it(llama: LoadedModel, client: Client) -> None:
    """Also while the other one is being answered, and without a change to it."""
    beginning = prompt(40)
    one = client.ask(beginning + prompt(10, 1), TOKENS)
    client.engine.step()
    other = client.ask(beginning + prompt(10, 2), TOKENS)
    client.run()
    third = client.ask(beginning + prompt(10, 3), TOKENS)
    client.run()
    assert [_cached(answer) for answer in (one, other, third)] == [0, 40, 40]
    assert one.tokens == alone(llama, beginning + prompt(10, 1), TOKENS)
    assert other.tokens == alone(llama, beginning + prompt(10, 2), TOKENS)
    assert third.tokens == alone(llama, beginning + prompt(10, 3), TOKENS)
    assert len(client.engine.conversations) == 3


def test_a_conversation_that_was_stopped_is_kept(client: Client) -> None:
    answer = client.ask(prompt(50), 1_000)
    client.run(until=lambda: len(answer.tokens) > 3)
    client.engine.stop(answer.number)
    client.run()
    again = client.ask(prompt(50), TOKENS)
    client.run()
    assert _cached(again) == 49


def test_the_oldest_ones_go_where_all_are_too_large(llama: LoadedModel, client_of: ClientOf) -> None:
    client = client_of(llama, conversation_bytes=250 * TOKEN_BYTES)
    for seed in range(4):
        client.ask(prompt(100, seed), 1)
        client.run()
    kept = client.engine.conversations
    assert len(kept) == 2
    assert kept.nbytes <= 250 * TOKEN_BYTES
    newest, oldest = client.ask(prompt(100, 3), 1), client.ask(prompt(100, 0), 1)
    client.run()
    assert (_cached(newest), _cached(oldest)) == (99, 0)


def test_none_is_kept_where_the_setting_is_0(llama: LoadedModel, client_of: ClientOf) -> None:
    client = client_of(llama, conversation_bytes=0)
    for _ in range(2):
        answer = client.ask(prompt(50), 1)
        client.run()
        assert _cached(answer) == 0
    assert len(client.engine.conversations) == 0


def test_no_more_than_32_are_kept(client: Client) -> None:
    for seed in range(40):
        client.ask(prompt(8, seed), 1)
    client.run()
    assert len(client.engine.conversations) == 32


def test_they_go_when_memory_runs_short(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    client.ask(prompt(50), 1)
    client.run()
    client.engine.conversations.let_go_under_pressure()
    assert len(client.engine.conversations) == 1
    monkeypatch.setattr(memory, "free_bytes", lambda: memory.total_bytes() // 30)
    client.engine.conversations.let_go_under_pressure()
    assert len(client.engine.conversations) == 0


def test_what_is_kept_leaves_the_memory_of_the_process_with_it() -> None:
    kept = Conversations(2**30)
    states = torch.ones(1, 4, 20_000, 64)
    gc.collect()  # garbage of earlier tests would be freed meanwhile
    give_back()  # what they have freed, and would be used first
    before = memory.resident().total
    cache = RowCache(4)
    for layer in range(4):
        cache.write(layer, states, states)
    cache.ids = list(range(20_000))
    kept.keep(cache)
    del cache
    size = kept.nbytes
    assert size == 8 * states.nbytes
    assert memory.resident().total - before > 0.9 * size
    kept.let_go()
    assert memory.resident().total - before < 0.2 * size


@pytest.mark.parametrize("common", [0, 1, 7, 100])
def test_the_common_beginning_is_found(common: int) -> None:
    one, other = [*prompt(common, 1), 1, *prompt(9, 2)], [*prompt(common, 1), 2, *prompt(50, 2)]
    assert common_length(one, other) == common
    assert common_length(one, one) == len(one)
