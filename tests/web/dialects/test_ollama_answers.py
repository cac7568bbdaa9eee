"""Frames as Ollama's clients read them."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

from modelhub.generation import Finish, FinishReason, Frame
from modelhub.web.dialects.ollama_answers import Shape, line, moment

MODEL = "org/chat"


def finish(reason: FinishReason) -> Finish:
    usage = {"prompt_tokens": 5, "cached_tokens": 2, "completion_tokens": 3, "reasoning_tokens": 0}
    timings = {"queued_s": 0.5, "prompt_s": 0.25, "answer_s": 1.5}
    return {"reason": reason, "usage": usage, "timings": timings}  # type: ignore[typeddict-item]


def chat(frame: Frame) -> dict[str, Any]:
    return Shape(MODEL, is_chat=True).part(frame)


def test_a_part_of_a_chat() -> None:
    part = chat({"text": "Hi", "reasoning": "Hm."})
    created_at = datetime.fromisoformat(part.pop("created_at"))
    assert abs((datetime.now(UTC) - created_at).total_seconds()) < 60
    message = {"role": "assistant", "content": "Hi", "thinking": "Hm."}
    assert part == {"model": MODEL, "message": message, "done": False}


def test_a_part_of_a_prompt_has_its_text_in_another_field() -> None:
    part = Shape(MODEL, is_chat=False).part({"text": "Hi", "reasoning": "Hm."})
    assert (part["response"], part["thinking"], part["done"]) == ("Hi", "Hm.", False)
    assert "message" not in part


def test_the_end_says_what_it_took_in_nanoseconds() -> None:
    end = chat({"text": "", "finish": finish("length")})
    assert (end["done"], end["done_reason"]) == (True, "length")
    assert (end["prompt_eval_count"], end["eval_count"]) == (5, 3)
    assert (end["prompt_eval_duration"], end["eval_duration"]) == (250_000_000, 1_500_000_000)
    assert end["load_duration"] == 0  # all of the time is that of the answer
    assert 0 < end["total_duration"] < 60 * 10**9


def test_calls_of_tools_have_an_object_of_arguments_and_end_as_any_answer() -> None:
    calls = [{"id": "call_1", "name": "add", "arguments": '{"a": 1}'}]
    end = chat({"tool_calls": calls, "finish": finish("tool_calls")})  # type: ignore[typeddict-item]
    function = {"index": 0, "name": "add", "arguments": {"a": 1}}
    assert end["message"]["tool_calls"] == [{"id": "call_1", "function": function}]
    assert end["done_reason"] == "stop"


def test_log_probabilities() -> None:
    top = [{"token": "a", "logprob": -0.1, "bytes": [97]}]
    chosen = {"token": "b", "logprob": -2.5, "bytes": [98], "top": top}
    part = chat({"text": "b", "logprobs": [chosen]})  # type: ignore[typeddict-item]
    assert part["logprobs"] == [{"token": "b", "logprob": -2.5, "bytes": [98], "top_logprobs": top}]


def test_a_load_is_told_in_percent_in_a_line_without_text() -> None:
    told = Shape(MODEL, is_chat=True).loading({"progress": 0.419})  # type: ignore[typeddict-item]
    assert (told["load_progress"], told["message"]["content"], told["done"]) == (41, "", False)
    assert Shape(MODEL, is_chat=True).loading({"progress": None})["load_progress"] == 0  # type: ignore[typeddict-item]


def test_an_object_is_one_line() -> None:
    text = line({"response": "one\ntwo é"})
    assert text.count("\n") == 1
    assert json.loads(text) == {"response": "one\ntwo é"}


def test_moments() -> None:
    assert moment(0) == "1970-01-01T00:00:00.000000Z"
    assert moment(math.inf) == "9999-12-31T23:59:59Z"
