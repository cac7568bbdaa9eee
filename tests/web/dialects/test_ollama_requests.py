"""Requests of Ollama's clients, as the core takes them; what cannot be honoured is refused in words."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from modelhub.web.dialects import ollama_requests as requests
from modelhub.web.dialects.fields import BadField, Fields

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n and so on").decode()
HELLO = {"role": "user", "content": "hello"}


def chat(**body: Any) -> Any:
    return requests.chat_request(Fields({"messages": [HELLO], **body}))


def generate(chats: bool = True, **body: Any) -> Any:
    return requests.generate_request(Fields(body), chats)


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"model": "org/name"}, "org/name"),
        ({"model": "org/name:latest"}, "org/name"),
        ({"name": "org/name"}, "org/name"),
        ({"model": "", "name": " org/name@v2 "}, "org/name@v2"),
    ],
)
def test_a_model_is_named_by_its_id(body: dict[str, Any], name: str) -> None:
    assert requests.model_name(Fields(body)) == name


def test_a_request_without_a_model_is_refused() -> None:
    with pytest.raises(BadField, match="model: Name one"):
        requests.model_name(Fields({"model": None}))


def test_an_answer_streams_unless_the_client_says_otherwise() -> None:
    assert [requests.streams(Fields(body)) for body in ({}, {"stream": True}, {"stream": False})] == [
        True,
        True,
        False,
    ]


def test_options_become_those_of_sampling() -> None:
    options = {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 20,
        "min_p": 0.1,
        "repeat_penalty": 1.2,
        "presence_penalty": 0.3,
        "frequency_penalty": 0.4,
        "seed": 7,
        "num_predict": 12,
        "stop": ["\n", ""],
    }
    of_the_runner = {"num_ctx": 10_192, "num_gpu": 1, "mirostat": 0, "use_mmap": True, "numa": False}
    assert chat(options={**options, **of_the_runner})["sampling"] == {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 20,
        "min_p": 0.1,
        "repetition_penalty": 1.2,
        "presence_penalty": 0.3,
        "frequency_penalty": 0.4,
        "seed": 7,
        "max_new_tokens": 12,
        "stop": ["\n"],
    }


@pytest.mark.parametrize("count", [-1, -2])
def test_as_many_tokens_as_may_be_are_not_counted(count: int) -> None:
    assert chat(options={"num_predict": count, "seed": -1, "stop": "x"})["sampling"] == {"stop": ["x"]}


@pytest.mark.parametrize(
    ("think", "template"),
    [
        (True, {"enable_thinking": True}),
        (False, {"enable_thinking": False}),
        ("high", {"enable_thinking": True, "reasoning_effort": "high"}),
    ],
)
def test_whether_to_think_is_a_variable_of_the_template(think: Any, template: dict[str, Any]) -> None:
    assert chat(think=think)["template"] == template


def test_log_probabilities_are_asked_for_by_their_number() -> None:
    assert "logprobs" not in chat()
    assert chat(logprobs=True)["logprobs"] == 0
    assert chat(logprobs=True, top_logprobs=3)["logprobs"] == 3


def test_images_come_before_the_text_as_data_uris() -> None:
    (message,) = chat(messages=[{**HELLO, "images": [PNG, f"data:image/png;base64,{PNG}"]}])["messages"]
    uri = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    assert message["content"] == [uri, uri, {"type": "text", "text": "hello"}]


def test_calls_of_tools_have_their_arguments_as_text_and_results_the_id_of_their_call() -> None:
    tools = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
    asked = chat(
        tools=tools,
        messages=[
            HELLO,
            {
                "role": "assistant",
                "content": "",
                "thinking": "Let me add.",
                "tool_calls": [{"function": {"name": "add", "arguments": {"a": 1}}}],
            },
            {"role": "tool", "tool_name": "add", "content": "1"},
        ],
    )
    _, call, result = asked["messages"]
    assert asked["tools"] == tools
    assert call["reasoning_content"] == "Let me add."
    assert call["tool_calls"] == [
        {"id": "call_1_0", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    ]
    assert result == {"role": "tool", "content": "1", "tool_call_id": "call_1_0", "name": "add"}


def test_a_chat_that_ends_with_the_assistant_goes_on() -> None:
    assert chat(messages=[HELLO, {"role": "assistant", "content": "Once"}])["continues"] is True
    assert "continues" not in chat()


def test_a_prompt_is_a_chat_where_the_model_has_a_template() -> None:
    asked = generate(prompt="hello", system="Be short.")
    assert asked["messages"] == [{"role": "system", "content": "Be short."}, HELLO]
    assert "prompt" not in asked


def test_a_prompt_is_sent_as_it_is_without_a_template_and_where_it_is_raw() -> None:
    assert generate(chats=False, prompt="hello", system="Be short.")["prompt"] == "Be short.\n\nhello"
    asked = generate(prompt="hello", system="Be short.", raw=True)
    assert asked["prompt"] == "hello"
    assert "messages" not in asked


def test_nothing_to_answer_asks_for_nothing() -> None:
    assert chat(messages=[]) is None
    assert generate(prompt="", system="Be short.") is None


def test_texts_to_embed_are_one_or_several() -> None:
    found = [requests.texts_to_embed(Fields({"input": one})) for one in ("a", ["a", "b"], "", [], None)]
    assert found == [["a"], ["a", "b"], [], [], []]


@pytest.mark.parametrize(
    ("body", "parameters"),
    [
        ({}, {"truncate": True}),
        ({"truncate": False, "dimensions": 8}, {"truncate": False, "dimensions": 8}),
    ],
)
def test_texts_to_embed_are_cut_unless_the_client_says_otherwise(
    body: dict[str, Any], parameters: dict[str, Any]
) -> None:
    assert requests.embedding_parameters(Fields(body)) == parameters


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"format": "json"}, "format"),
        ({"format": {"type": "object"}}, "format"),
        ({"think": "a lot"}, "think"),
        ({"options": {"temperature": "hot"}}, "options.temperature"),
        ({"options": {"num_predict": 1.5}}, "options.num_predict"),
        ({"options": {"stop": [1]}}, "options.stop"),
        ({"options": 3}, "options"),
        ({"messages": "hello"}, "messages"),
        ({"messages": ["hello"]}, "messages.0"),
        ({"messages": [{"content": "hello"}]}, "messages.0.role"),
        ({"messages": [{**HELLO, "images": ["no image"]}]}, "images"),
        ({"messages": [{**HELLO, "images": [3]}]}, "images"),
        (
            {"messages": [{**HELLO, "tool_calls": [{"function": {}}]}]},
            "messages.0.tool_calls.0.function.name",
        ),
        ({"tools": ["add"]}, "tools.0"),
        ({"top_logprobs": 21}, "top_logprobs"),
    ],
)
def test_what_a_chat_cannot_have_is_named(body: dict[str, Any], param: str) -> None:
    with pytest.raises(BadField) as refused:
        chat(**body)
    assert refused.value.param == param
    assert refused.value.status == 400


@pytest.mark.parametrize("name", ["suffix", "template"])
def test_what_a_prompt_cannot_have_is_named(name: str) -> None:
    with pytest.raises(BadField) as refused:
        generate(prompt="hello", **{name: "x"})
    assert refused.value.param == name


def test_earlier_tokens_and_images_of_a_raw_prompt_are_refused() -> None:
    for body in ({"context": [1, 2]}, {"raw": True, "images": [PNG]}):
        with pytest.raises(BadField):
            generate(prompt="hello", **body)
