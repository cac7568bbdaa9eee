"""The answers of OpenAI's API: what clients are sent for the frames of a model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from modelhub.errors import ModelhubError
from modelhub.generation import Finish, FinishReason, Frame
from modelhub.states import State
from modelhub.web.dialects.answers import Answer, Loading, Whole
from modelhub.web.dialects.event_stream import answer_lines
from modelhub.web.dialects.openai_chat import ChatChunks, chat_completion
from modelhub.web.dialects.openai_completions import CompletionChunks, completion
from modelhub.web.dialects.openai_errors import error_body
from modelhub.web.dialects.openai_response_events import ResponseEvents
from modelhub.web.dialects.openai_responses import response

ANSWER = Answer(None, "org/name", {}, by="rest", has_left=lambda: False)  # type: ignore[arg-type]
CALL: Any = {"id": "call_1", "name": "weather", "arguments": '{"in": "Rome"}'}
LOGPROB: Any = {
    "token": "é",
    "logprob": -0.5,
    "bytes": [195, 169],
    "top": [
        {"token": "é", "logprob": -0.5, "bytes": [195, 169]},
        {"token": "e", "logprob": -2, "bytes": [101]},
    ],
}
USAGE = {"prompt_tokens": 7, "cached_tokens": 4, "completion_tokens": 5, "reasoning_tokens": 2}


def _finish(reason: FinishReason = "stop") -> Finish:
    times: Any = {"queued_s": 0.1, "prompt_s": 0.5, "answer_s": 2.0}
    usage: Any = USAGE
    return {"reason": reason, "usage": usage, "timings": times}


def _chunks(frames: list[Frame], encode: Any) -> list[dict[str, Any]]:
    return [chunk for frame in frames for chunk in encode(frame)]


def test_a_chat_has_reasoning_text_and_calls_and_ends_once() -> None:
    frames: list[Frame] = [
        {"reasoning": "Hm"},
        {"text": "It "},
        {},
        {"text": "rains", "tool_calls": [CALL, {**CALL, "id": "call_2"}]},
        {"tool_calls": [{**CALL, "id": "call_3"}], "finish": _finish("tool_calls")},
    ]
    chunks = _chunks(frames, ChatChunks(ANSWER, include_usage=False))
    assert {(chunk["id"], chunk["object"], chunk["model"]) for chunk in chunks} == {
        (ANSWER.id, "chat.completion.chunk", "org/name")
    }
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[:3] == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "Hm"},
        {"content": "It "},
    ]
    calls = [call for delta in deltas for call in delta.get("tool_calls", [])]
    assert [(call["index"], call["id"], call["type"]) for call in calls] == [
        (place, f"call_{place + 1}", "function") for place in range(3)
    ]
    assert calls[0]["function"] == {"name": "weather", "arguments": CALL["arguments"]}
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * 5 + ["tool_calls"]
    assert ["usage" in chunk for chunk in chunks] == [False] * 5 + [True]
    assert chunks[-1]["usage"] == {
        "prompt_tokens": 7,
        "completion_tokens": 5,
        "total_tokens": 12,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    assert chunks[-1]["timings"]["predicted_per_second"] == 2.5
    assert chunks[-1]["timings"]["prompt_n"] == 3


def test_the_usage_alone_comes_last_where_it_is_asked_for() -> None:
    chunks = _chunks([{"text": "x"}, {"finish": _finish()}], ChatChunks(ANSWER, include_usage=True))
    assert [chunk["usage"] is None for chunk in chunks] == [True, True, False, False]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == chunks[-2]["usage"]


def test_a_whole_chat_is_of_the_same_parts() -> None:
    whole = Whole(_finish("tool_calls"), "", "Hm", [CALL], [LOGPROB])
    (choice,) = chat_completion(ANSWER, whole)["choices"]
    assert choice["message"]["content"] is None
    assert choice["message"]["reasoning_content"] == "Hm"
    assert choice["message"]["tool_calls"][0]["function"]["name"] == "weather"
    (token,) = choice["logprobs"]["content"]
    assert (token["token"], token["bytes"], len(token["top_logprobs"])) == ("é", [195, 169], 2)
    (plain,) = chat_completion(ANSWER, Whole(_finish(), "Hello"))["choices"]
    assert plain["message"] == {"role": "assistant", "content": "Hello", "refusal": None}
    assert (plain["logprobs"], plain["finish_reason"]) == (None, "stop")


def test_completions_count_where_each_token_begins() -> None:
    frames: list[Frame] = [
        {"text": "é", "logprobs": [LOGPROB]},
        {"text": "é", "logprobs": [LOGPROB], "finish": _finish("length")},
    ]
    chunks = _chunks(frames, CompletionChunks(ANSWER, include_usage=False, echo=""))
    offsets = [chunk["choices"][0]["logprobs"]["text_offset"] for chunk in chunks[:2]]
    assert offsets == [[0], [1]]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, "length"]
    whole = completion(ANSWER, Whole(_finish(), "éé", logprobs=[LOGPROB, LOGPROB]), echo="")
    logprobs = whole["choices"][0]["logprobs"]
    assert logprobs["text_offset"] == [0, 1]
    assert logprobs["top_logprobs"][0] == {"é": -0.5, "e": -2}
    echoed = _chunks([{"text": "b", "finish": _finish()}], CompletionChunks(ANSWER, False, "a"))
    assert "".join(chunk["choices"][0]["text"] for chunk in echoed) == "ab"


def test_a_response_has_an_event_for_all_that_begins_and_ends() -> None:
    events = ResponseEvents(ANSWER)
    frames: list[Frame] = [
        {"reasoning": "Hm"},
        {"reasoning": "."},
        {"text": "Rain."},
        {"tool_calls": [CALL], "finish": _finish("tool_calls")},
    ]
    sent = _chunks(frames, events.frame)
    assert [one["type"].removeprefix("response.") for one in sent] == [
        *("created", "in_progress"),
        *("output_item.added", "reasoning_text.delta", "reasoning_text.delta", "reasoning_text.done"),
        *("output_item.done", "output_item.added", "content_part.added", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", "function_call_arguments.done", "output_item.done", "completed"),
    ]
    assert [one["sequence_number"] for one in sent] == list(range(len(sent)))
    assert [one["output_index"] for one in sent if one["type"].endswith("item.done")] == [0, 1, 2]
    assert sent[0]["response"]["status"] == "queued"
    whole = response(ANSWER, Whole(_finish("tool_calls"), "Rain.", "Hm.", [CALL]))
    assert sent[-1]["response"]["output"] == whole["output"]
    assert whole["usage"]["input_tokens_details"]["cached_tokens"] == 4
    assert [item["type"] for item in whole["output"]] == ["reasoning", "message", "function_call"]


def test_a_response_that_says_nothing_has_an_empty_message() -> None:
    sent = _chunks([{"finish": _finish("length")}], ResponseEvents(ANSWER).frame)
    assert sent[-1]["type"] == "response.incomplete"
    assert sent[-1]["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert sent[-1]["response"]["output"][0]["content"][0]["text"] == ""


def test_an_error_in_a_stream_is_its_end() -> None:
    def parts() -> Iterator[Any]:
        snapshot: Any = {"state": State.QUEUED, "queue_position": 3}
        yield None
        yield Frame(text='A "quote"')
        raise ModelhubError("queue_full", waiting=snapshot["queue_position"])

    lines = "".join(
        answer_lines(parts(), ChatChunks(ANSWER, False), lambda error: (error_body(error),))
    ).split("\n\n")
    assert lines[0] == ": waiting"
    assert json.loads(lines[2].removeprefix("data: "))["choices"][0]["delta"]["content"] == 'A "quote"'
    error = json.loads(lines[-2].removeprefix("data: "))["error"]
    assert (error["code"], error["type"], lines[-1]) == ("queue_full", "server_error", "")
    events = ResponseEvents(ANSWER)
    list(events.frame({"text": "x"}))
    first, last = events.failed(ModelhubError("queue_full", waiting=3))
    assert (first["type"], last["type"], last["response"]["status"]) == ("error", "response.failed", "failed")
    assert first["sequence_number"] + 1 == last["sequence_number"]


def test_what_nobody_foresaw_is_an_internal_error(caplog: Any) -> None:
    def parts() -> Iterator[Loading | Frame | None]:
        yield None
        raise ZeroDivisionError("secret")

    (_, line) = answer_lines(parts(), ChatChunks(ANSWER, False), lambda error: (error_body(error),))
    assert json.loads(line.removeprefix("data: "))["error"]["code"] == "internal"
    assert "secret" not in line
    assert "A stream failed" in caplog.text
