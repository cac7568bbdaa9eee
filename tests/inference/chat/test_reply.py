"""Replies: what is said with each token, what a stop cuts, and the numbers that belong to the text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelhub.generation import Frame
from modelhub.inference.chat.answers import Answer
from modelhub.inference.chat.formats import format_of
from modelhub.inference.chat.vocabulary import Vocabulary
from modelhub.inference.reply import Reply
from tests.inference.chat.test_stops import cut
from tests.inference.chat.test_text_stream import TOKENIZERS
from tests.support.chat_models import STORY, WORDS, chat_tokenizer
from tests.support.chat_templates import WEATHER, family_tokenizer

TOKENIZER = chat_tokenizer()
VOCABULARY = Vocabulary(TOKENIZER)


def tokens_of(text: str, tokenizer: Any = TOKENIZER) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def frames_of(reply: Reply, tokens: list[int], **more: Any) -> list[Frame]:
    return [*(reply.add(token, **more) for token in tokens), reply.end("stop")]


def text_of(frames: list[Frame]) -> str:
    return "".join(frame.get("text", "") for frame in frames)


def test_each_token_is_said_at_once() -> None:
    frames = frames_of(Reply(VOCABULARY), tokens_of(STORY))
    assert [frame.get("text") for frame in frames] == [*WORDS, None]
    assert [frame.get("tokens") for frame in frames] == [*range(1, len(WORDS) + 1), None]


def test_special_tokens_are_no_text() -> None:
    tokens = [256, *tokens_of("One day"), TOKENIZER.convert_tokens_to_ids("<|user|>"), 257, 258]
    assert text_of(frames_of(Reply(VOCABULARY), tokens)) == "One day"


def test_the_token_that_ends_the_answer_is_no_text() -> None:
    end = TOKENIZER.convert_tokens_to_ids(" stopped.")
    assert text_of(frames_of(Reply(VOCABULARY, ends=[end]), tokens_of(STORY))) == STORY.removesuffix(
        " stopped."
    )


def test_a_character_is_said_whole() -> None:
    frames = frames_of(Reply(VOCABULARY), tokens_of("\u20ac\U0001f600"))
    assert [frame.get("text") for frame in frames] == [
        None,
        None,
        "\u20ac",
        None,
        None,
        None,
        "\U0001f600",
        None,
    ]


def test_a_character_that_is_cut_is_said_at_the_end() -> None:
    frames = frames_of(Reply(VOCABULARY), tokens_of("\u20ac")[:2])
    assert [frame.get("text") for frame in frames] == [None, None, "\ufffd"]


def test_a_stop_is_no_part_of_the_text() -> None:
    reply = Reply(VOCABULARY, stops=["that wrote", "zebra"])
    frames = frames_of(reply, tokens_of(STORY))
    assert text_of(frames) == "One day there was a model "
    assert reply.has_stopped
    assert reply.tokens == 8, "none counts after the stop"
    assert frames[9:] == [{}] * len(frames[9:])


def test_what_may_be_a_stop_is_held_back_until_it_is_none() -> None:
    reply = Reply(VOCABULARY, stops=["a model of"])
    frames = frames_of(reply, tokens_of(STORY))
    assert text_of(frames) == STORY
    assert frames[4:6] == [{"text": " ", "tokens": 5}, {}]
    assert frames[6].get("text") == "a model that"
    assert not reply.has_stopped
    assert text_of(frames_of(Reply(VOCABULARY, stops=["stopped. Then"]), tokens_of(STORY))) == STORY


@settings(max_examples=150, deadline=None)
@given(
    text=st.text("ab\u20ac one day", max_size=30),
    stops=st.lists(st.text("ab\u20ac one", min_size=1, max_size=4), max_size=3),
    name=st.sampled_from(["bytes", "words", "sentence-piece"]),
)
def test_frames_are_the_text_up_to_the_first_stop(text: str, stops: list[str], name: str) -> None:
    tokenizer = {"words": TOKENIZER, **TOKENIZERS}[name]
    vocabulary = Vocabulary(tokenizer)
    tokens = tokens_of(text, tokenizer)
    reply = Reply(vocabulary, stops=stops)
    whole = tokenizer.decode(tokens, skip_special_tokens=True)
    assert text_of(frames_of(reply, tokens)) == cut(whole, stops)
    assert reply.has_stopped == any(stop in whole for stop in stops)


def test_logprobs_come_with_their_text() -> None:
    reply = Reply(VOCABULARY, stops=["a model of", "day x"])
    frames = frames_of(reply, tokens_of("One day there"), logprob=-0.5, top=[(66, -0.5), (67, -1.0)])
    texts = [[one["token"] for one in frame.get("logprobs", [])] for frame in frames]
    assert texts == [["One"], [" day"], [" there"], []]
    assert [frame.get("text") for frame in frames] == ["One", " ", "day there", None]
    first = frames[0]["logprobs"][0]
    assert (first["logprob"], bytes(first["bytes"])) == (-0.5, b"One")
    assert [one["logprob"] for one in first["top"]] == [-0.5, -1.0]


def test_logprobs_of_a_stop_are_left_out() -> None:
    frames = frames_of(Reply(VOCABULARY, stops=[" that"]), tokens_of(STORY), logprob=-1.0)
    assert [one["token"] for frame in frames for one in frame.get("logprobs", [])] == list(WORDS[:6])


def test_logprobs_of_parts_of_characters_have_their_bytes() -> None:
    frames = frames_of(Reply(VOCABULARY), [256, *tokens_of("\u20aca"), 257], logprob=-1.0)
    assert [frame.get("text") for frame in frames] == [None, None, None, "\u20ac", "a", None, None]
    found = [one for frame in frames for one in frame.get("logprobs", [])]
    assert [one["bytes"] for one in found] == [[0xE2], [0x82], [0xAC], [0x61]]
    assert [one["token"] for one in found] == ["\ufffd", "\ufffd", "\ufffd", "a"]
    cut_short = frames_of(Reply(VOCABULARY), tokens_of("\u20ac")[:2], logprob=-1.0)
    assert len(cut_short[-1]["logprobs"]) == 2


@pytest.mark.parametrize("name", ["bytes", "sentence-piece", "metaspace"])
def test_the_bytes_of_tokens_are_those_of_the_text(name: str) -> None:
    tokenizer = TOKENIZERS[name]
    vocabulary = Vocabulary(tokenizer)
    text = "a bc \u20ac" if name != "metaspace" else "a bc \u00e4"
    assert b"".join(map(vocabulary.bytes_of, tokens_of(text, tokenizer))).decode().strip() == text


def test_numbers_without_a_token_have_no_bytes() -> None:
    assert VOCABULARY.bytes_of(5_000) == b""
    assert text_of(frames_of(Reply(VOCABULARY), [5_000], logprob=-1.0)) == ""


def test_reasoning_and_calls_in_frames() -> None:
    tokenizer = family_tokenizer("qwen")
    vocabulary = Vocabulary(tokenizer)
    found = format_of(vocabulary, tokenizer.chat_template, "<|im_start|>assistant\n", True)
    call = '{"name": "get_weather", "arguments": {"city": "Oslo"}}'
    answer = f"<think>Hm</think>So.<tool_call>{call}</tool_call>"
    reply = Reply(vocabulary, Answer(found, [WEATHER]), ["END"])
    tokens = tokens_of(answer, tokenizer)
    frames = frames_of(reply, tokens)
    assert text_of(frames) == "So."
    assert "".join(frame.get("reasoning", "") for frame in frames) == "Hm"
    [made] = [call for frame in frames for call in frame.get("tool_calls", [])]
    assert (made["name"], json.loads(made["arguments"])) == ("get_weather", {"city": "Oslo"})
    assert reply.reason("stop") == "tool_calls"
    assert reply.reason("length") == "length"
    assert reply.tokens == len(tokens)
    assert reply.reasoning_tokens == len("Hm") + 1, "and the mark of its end"
