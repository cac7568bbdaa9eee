"""Chats through the engine: what a client gets in the end, with its reason and its numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest

from modelhub.errors import ModelhubError
from modelhub.generation import Frame
from modelhub.inference.engine import Engine
from modelhub.inference.interruption import Interruption
from modelhub.limits import PredictionLimits
from modelhub.loader.finishing import LoadedModel
from tests.support.chat_models import STORY, WORDS, make_story
from tests.support.loads import run, spec_for

CHAT = [{"role": "user", "content": "Tell me a story."}]
Ask = Callable[..., list[Frame]]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = tmp_path_factory.mktemp("models")
    make_story(folder / "tiny" / "story")
    return run(spec_for("tiny/story", folder))[1]


@pytest.fixture(scope="module")
def ask(story: LoadedModel) -> Ask:
    """``ask(**generation)`` returns the frames of the answer, or raises what it failed with."""
    frames: list[Frame] = []
    failures: list[ModelhubError] = []
    engine = Engine(
        story,
        Interruption(),
        lambda sent: frames.extend(frame for _, frame in sent),
        lambda _, error: failures.append(error),
        lambda _: None,
    )
    number = 0

    def ask(**generation: Any) -> list[Frame]:
        nonlocal number
        number += 1
        frames.clear()
        message = {"request": number, "model": "tiny/story", "limits": asdict(PredictionLimits())}
        engine.add({**message, "generation": {"messages": CHAT, **generation}})
        while engine.has_work:
            engine.step()
        if failures:
            raise failures.pop()
        return list(frames)

    return ask


def text_of(frames: list[Frame]) -> str:
    return "".join(frame.get("text", "") for frame in frames)


def test_the_story(ask: Ask) -> None:
    frames = ask(sampling={"temperature": 0})
    assert text_of(frames) == STORY
    finish = frames[-1]["finish"]
    assert finish["reason"] == "stop"
    assert finish["usage"]["completion_tokens"] == len(WORDS) + 1, "and the end"


def test_a_stop_over_two_tokens_ends_the_story(ask: Ask) -> None:
    frames = ask(sampling={"temperature": 0, "stop": ["l that w"]}, logprobs=1)
    assert text_of(frames) == "One day there was a mode"
    finish = frames[-1]["finish"]
    assert (finish["reason"], finish["usage"]["completion_tokens"]) == ("stop", 8)
    found = [one for frame in frames for one in frame.get("logprobs", [])]
    assert [one["token"] for one in found] == list(WORDS[:6])
    assert all(len(one["top"]) == 1 and one["logprob"] == one["top"][0]["logprob"] for one in found)


def test_a_short_answer_says_why_it_ends(ask: Ask) -> None:
    frames = ask(sampling={"temperature": 0, "max_new_tokens": 3, "stop": ["there was"]})
    assert text_of(frames) == "One day there"
    assert frames[-1]["finish"]["reason"] == "length"


def test_a_message_goes_on(ask: Ask) -> None:
    begun = [*CHAT, {"role": "assistant", "content": "One day"}]
    with pytest.raises(ModelhubError) as caught:
        ask(messages=CHAT, continues=True)
    assert caught.value.code == "bad_inputs"
    frames = ask(messages=begun, continues=True, sampling={"temperature": 0})
    assert text_of(frames) == STORY.removeprefix("One day")
