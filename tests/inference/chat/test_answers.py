"""Answers in their parts: reasoning and tool calls of the families, however the text is split."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelhub.inference.chat.answers import Answer, Parts
from modelhub.inference.chat.formats import Format, format_of
from modelhub.inference.chat.vocabulary import Vocabulary
from tests.support.chat_templates import WEATHER, family_tokenizer

TOOLS = [WEATHER]
PROMPTS = {
    "qwen": "<|im_start|>assistant\n",
    "llama": "<|end_header_id|>\n\n",
    "mistral": "[/INST]",
    "deepseek": "<assistant><think>\n",
    "gemma": "<start_of_turn>model\n",
}
VOCABULARIES = {family: Vocabulary(family_tokenizer(family)) for family in PROMPTS}


def read(
    family: str, tools: bool = True, prompt: str | None = None, begun: str | None = None
) -> Format | None:
    vocabulary = VOCABULARIES[family]
    source = vocabulary.tokenizer.chat_template
    return format_of(vocabulary, source, PROMPTS[family] if prompt is None else prompt, tools, begun)


def parts(found: Format | None, *pieces: str, tools: bool = True) -> Parts:
    answer = Answer(found, TOOLS if tools else [])
    frames = [*(answer.add(piece) for piece in pieces), answer.end()]
    return Parts(
        "".join(frame.text for frame in frames),
        "".join(frame.reasoning for frame in frames),
        [call for frame in frames for call in frame.tool_calls],
    )


def calls(found: Parts) -> list[tuple[str, Any]]:
    return [(call["name"], json.loads(call["arguments"])) for call in found.tool_calls]


CALL = '{"name": "get_weather", "arguments": {"city": "Z\u00fcrich", "days": 2}}'
WANTED = ("get_weather", {"city": "Z\u00fcrich", "days": 2})


def test_reasoning_is_apart_from_the_text() -> None:
    found = parts(read("qwen"), "<think>\nLet me see.\n</think>\n\nIt rains.")
    assert (found.reasoning, found.text, found.tool_calls) == ("Let me see.", "It rains.", [])


def test_reasoning_that_the_prompt_has_opened() -> None:
    found = parts(read("deepseek"), "Let me see.\n</think>\n\nIt rains.")
    assert (found.reasoning, found.text) == ("Let me see.", "It rains.")
    assert read("deepseek", prompt="<assistant>") is not None
    assert parts(read("deepseek", prompt="<assistant>"), "It rains.").text == "It rains."


def test_reasoning_that_the_prompt_has_closed() -> None:
    closed = "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    assert parts(read("qwen", prompt=closed), "It rains.").text == "It rains."


def test_reasoning_that_goes_on_with_a_message() -> None:
    found = parts(read("qwen", begun="<think>\nLet me"), " see.</think>It rains.")
    assert (found.reasoning, found.text) == (" see.", "It rains.")
    assert parts(read("qwen", begun="<think>\nYes.</think>It"), " rains.").text == " rains."


def test_reasoning_that_does_not_end() -> None:
    found = parts(read("qwen"), "<think>\nLet me see")
    assert (found.reasoning, found.text) == ("Let me see", "")


def test_a_mark_in_the_middle_of_a_text_is_text() -> None:
    text = "Models write <think> and </think> around that."
    assert parts(read("qwen"), text).text == text


def test_calls_of_hermes_and_qwen() -> None:
    answer = f"I look.\n<tool_call>\n{CALL}\n</tool_call>\n<tool_call>\n{CALL}\n</tool_call>"
    found = parts(read("qwen"), "<think>\nHm\n</think>\n\n" + answer)
    assert (found.text, found.reasoning) == ("I look.", "Hm")
    assert calls(found) == [WANTED, WANTED]
    ids = {call["id"] for call in found.tool_calls}
    assert len(ids) == 2
    assert all(one.startswith("call_") for one in ids)


def test_calls_of_qwen_coder() -> None:
    values = "<parameter=city>\n7\n</parameter>\n<parameter=days>\n2\n</parameter>"
    body = f"<function=get_weather>\n{values}\n</function>"
    found = parts(read("qwen"), f"<tool_call>\n{body}\n</tool_call>")
    assert calls(found) == [("get_weather", {"city": "7", "days": 2})]


@pytest.mark.parametrize("mark", ["", "<|python_tag|>"])
def test_calls_of_llama(mark: str) -> None:
    found = parts(read("llama"), mark, '{"name": "get_weather", "parameters": {"city": "Oslo"}}')
    assert calls(found) == [("get_weather", {"city": "Oslo"})]
    assert found.text == ""


def test_json_that_names_no_tool_is_an_answer_of_llama() -> None:
    for answer in ('{"name": "Ada", "parameters": {}}', '{"city": "Oslo"}', '{"name": "get_weather"', "{}"):
        found = parts(read("llama"), answer)
        assert (found.text, found.tool_calls) == (answer, [])


@pytest.mark.parametrize(
    "answer",
    [
        '[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Oslo"}}]',
        '[TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "Oslo"}, "id": "abcdefghi"}]',
        '[TOOL_CALLS]get_weather[ARGS]{"city": "Oslo"}',
        '[TOOL_CALLS]get_weather[CALL_ID]abcdefghi[ARGS]{"city": "Oslo"}',
    ],
)
def test_calls_of_mistral(answer: str) -> None:
    assert calls(parts(read("mistral"), answer)) == [("get_weather", {"city": "Oslo"})]


def test_two_calls_of_mistral() -> None:
    answer = '[TOOL_CALLS]get_weather[ARGS]{"city": "Oslo"}[TOOL_CALLS]get_weather[ARGS]{"city": "Rom"}'
    found = calls(parts(read("mistral"), answer))
    assert found == [("get_weather", {"city": "Oslo"}), ("get_weather", {"city": "Rom"})]


@pytest.mark.parametrize(
    "body",
    [
        "{no json}", "", "[]", "7", '{"name": 7, "arguments": {}}', '{"arguments": {}}',
        '{"name": "get_weather", "arguments": "no json"}', '{"name": "get_weather", "arguments": [1]}',
        '{"name": "get_weather", "arguments": {"days": NaN}}', "[" * 5_000,
        '{"name": "get_weather", "arguments": {}} and more',
    ],
)  # fmt: skip
def test_what_is_no_call_stays_text(body: str) -> None:
    answer = f"I look.\n<tool_call>\n{body}\n</tool_call> Well."
    found = parts(read("qwen"), answer)
    assert (found.text, found.tool_calls) == (answer, [])


def test_a_call_whose_end_does_not_come() -> None:
    assert calls(parts(read("qwen"), f"<tool_call>\n{CALL}")) == [WANTED]
    half = f"<tool_call>\n{CALL[:-5]}"
    assert parts(read("qwen"), half).text == half


def test_a_call_is_said_when_it_closes() -> None:
    answer = Answer(read("qwen"), TOOLS)
    assert answer.add(f"<tool_call>{CALL}</tool_call").tool_calls == []
    assert len(answer.add(">").tool_calls) == 1


def test_arguments_as_text_and_halves_of_characters() -> None:
    body = json.dumps({"name": "get_weather", "arguments": json.dumps({"city": "\ud83d"})})
    found = parts(read("qwen"), f"<tool_call>{body}</tool_call>")
    assert calls(found) == [("get_weather", {"city": "\ud83d"})]
    assert found.tool_calls[0]["arguments"].encode(), "it can be sent"


def test_without_tools_a_call_is_text() -> None:
    answer = f"<tool_call>{CALL}</tool_call>"
    assert parts(read("qwen", tools=False), answer, tools=False).text == answer


def test_a_model_without_marks_has_none() -> None:
    assert read("gemma") is None
    assert parts(None, "<think>", "a</think>").text == "<think>a</think>"


PIECES = st.lists(
    st.sampled_from([
        "<think>", "</think>", "<tool_call>", "</tool_call>", CALL, "\n", " ", "<", "a", "{", "}", "</",
        "tool", "_call>", "[TOOL_CALLS]", "<|python_tag|>", "\u20ac",
    ]),
    max_size=12,
)  # fmt: skip


@pytest.mark.parametrize("family", ["qwen", "llama", "mistral", "deepseek"])
@settings(max_examples=100, deadline=None)
@given(pieces=PIECES, places=st.lists(st.integers(0, 400), max_size=6))
def test_the_split_makes_no_difference(family: str, pieces: list[str], places: list[int]) -> None:
    text = "".join(pieces)
    cuts = sorted({0, len(text), *(min(place, len(text)) for place in places)})
    whole = parts(read(family), text)
    split = parts(read(family), *(text[begin:end] for begin, end in pairwise(cuts)))
    assert (split.text, split.reasoning, calls(split)) == (whole.text, whole.reasoning, calls(whole))


@settings(max_examples=200, deadline=None)
@given(pieces=PIECES)
def test_nothing_is_lost_but_marks_and_space(pieces: list[str]) -> None:
    text = "".join(pieces)
    found = parts(read("qwen"), text)
    said = found.reasoning + found.text
    if not found.tool_calls:
        for mark in ("<think>", "</think>") if text.lstrip().startswith("<think>") else ():
            said, text = said.replace(mark, ""), text.replace(mark, "")
        assert "".join(said.split()) == "".join(text.split())


OWN: dict[str, Any] = {
    "start_anchor": "<|im_start|>assistant\n",
    "fields": {
        "thinking": {"open": "<hm>", "close": "</hm>"},
        "tool_calls": {
            "open_pattern": r"<call:(?P<name>\w+)>",
            "close": "</call>",
            "repeats": True,
            "content": "json",
            "transform": {"type": "function", "function": {"name": "{name}", "arguments": "{content}"}},
        },
        "content": {},
    },
}


def own(template: Any, prompt: str = "<|im_start|>user\n<hm><|im_start|>assistant\n") -> Format | None:
    tokenizer = family_tokenizer("qwen")
    tokenizer.response_template = template
    return format_of(Vocabulary(tokenizer), "", prompt, True)


def test_what_a_tokenizer_says_of_its_answers() -> None:
    found = parts(own(OWN), '<hm>a</hm>b<call:get_weather>{"city": "Oslo"}</call>')
    assert (found.reasoning, found.text) == ("a", "b")
    assert calls(found) == [("get_weather", {"city": "Oslo"})]
    assert parts(own(OWN, "<|im_start|>assistant\n<hm>"), "a</hm>b").reasoning == "a"
    assert parts(own(OWN, "no anchor <hm>"), "b").text == "b"


def test_an_answer_that_is_not_as_the_tokenizer_says_is_text() -> None:
    found = parts(own(OWN), "b<call:get_weather>{no", " json}</call> and <hm>more")
    assert (found.text, found.tool_calls) == ("b<call:get_weather>{no json}</call> and <hm>more", [])
    assert parts(own(OWN), "b<call:get_weather>{no").text == "b<call:get_weather>{no"


@pytest.mark.parametrize(
    "template", [{"fields": 7}, {}, {"fields": {"content": {"open_pattern": "("}}}, {**OWN, "version": 2}]
)
def test_a_response_template_that_cannot_be_used_is_left_out(template: Any) -> None:
    assert parts(own(template), "<think>a</think>b").reasoning == "a"


def test_harmony() -> None:
    tokenizer = family_tokenizer("gemma")
    marks = ["<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|call|>", "<|constrain|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": marks})
    found = format_of(Vocabulary(tokenizer), "analysis <|channel|>", "<|start|>assistant", True)
    thought = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant"
    answer = parts(found, thought + "<|channel|>final<|message|>It rains.")
    assert (answer.reasoning, answer.text) == ("Hm.", "It rains.")
    call = (
        '<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{"city": "Oslo"}<|call|>'
    )
    assert calls(parts(found, thought + call)) == [("get_weather", {"city": "Oslo"})]
