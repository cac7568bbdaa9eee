"""Requests of OpenAI's API: what models are asked, and what is refused by the name of its field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelhub.web.dialects.fields import BadField, Fields
from modelhub.web.dialects.openai_embeddings import embeddings_request
from modelhub.web.dialects.openai_requests import chat_request, completion_request
from modelhub.web.dialects.openai_responses import response_request

HELLO = [{"role": "user", "content": "Hello"}]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
IMAGE = "data:image/png;base64,AAAA"


def _chat(**fields: Any) -> Any:
    return chat_request(Fields({"messages": HELLO, **fields}))


def test_settings_have_the_names_of_the_engine() -> None:
    given = {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "min_p": 0.1,
        "repetition_penalty": 1.1,
        "presence_penalty": -1,
        "frequency_penalty": 2,
        "seed": 7,
        "logit_bias": {"11": -100},
    }
    request = _chat(**given, stop="END", max_tokens=3, min_tokens=2, ignore_eos=True)
    more = {"stop": ["END"], "max_new_tokens": 3, "min_new_tokens": 2, "ignore_eos": True}
    assert request == {"messages": HELLO, "sampling": {**given, **more}, "logprobs": None}


def test_what_is_null_or_not_known_is_ignored() -> None:
    fields = {"temperature": None, "stop": None, "n": None, "tools": None, "response_format": None}
    unknown = {"user": "me", "store": True, "metadata": {}, "service_tier": "auto", "some_new_field": [1]}
    assert _chat(**fields, **unknown) == {"messages": HELLO, "sampling": {}, "logprobs": None}


def test_the_newer_name_of_a_limit_counts_and_minus_one_is_none() -> None:
    assert _chat(max_tokens=3, max_completion_tokens=5)["sampling"] == {"max_new_tokens": 5}
    assert _chat(max_tokens=-1)["sampling"] == {}
    assert _chat(top_k=-1)["sampling"] == {"top_k": 0}


def test_a_generation_config_comes_as_text_and_what_it_has_beside_is_ignored() -> None:
    config = {"do_sample": False, "max_new_tokens": 9, "min_new_tokens": 9, "top_k": 3, "eos_token_id": [1]}
    text = json.dumps({**config, "stop_strings": ["X"], "transformers_version": "5.23.0", "num_beams": 1})
    expected = {"do_sample": False, "max_new_tokens": 9, "min_new_tokens": 9, "top_k": 3, "stop": ["X"]}
    assert _chat(generation_config=text)["sampling"] == expected
    assert _chat(generation_config=text, max_tokens=4, top_k=8)["sampling"] == {
        **expected,
        "max_new_tokens": 4,
        "top_k": 8,
    }


def test_messages_have_texts_images_sounds_and_calls() -> None:
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"in": "Rome"}'},
    }
    parts = [
        {"type": "text", "text": "What is this?", "cache_control": {}},
        {"type": "image_url", "image_url": {"url": IMAGE, "detail": "low"}},
        {"type": "image_url", "image_url": IMAGE},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    ]
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": parts, "name": "Ada"},
        {"role": "assistant", "content": None, "tool_calls": [call], "refusal": None},
        {"role": "tool", "content": "rain", "tool_call_id": "call_1"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}], "reasoning_content": "Hm"},
    ]
    plain = {"type": "image_url", "image_url": {"url": IMAGE}}
    content = [{"type": "text", "text": "What is this?"}, plain, plain, parts[3]]
    assert _chat(messages=messages)["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": content, "name": "Ada"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "rain", "tool_call_id": "call_1"},
        {"role": "assistant", "content": [{"type": "text", "text": "No."}], "reasoning_content": "Hm"},
    ]


def test_tools_reasoning_and_variables_of_the_template() -> None:
    assert _chat(tools=[TOOL], tool_choice="auto", parallel_tool_calls=True)["tools"] == [TOOL]
    assert "tools" not in _chat(tools=[TOOL], tool_choice="none")
    kwargs = {"enable_thinking": True}
    assert _chat(reasoning_effort="low", chat_template_kwargs=kwargs)["template"] == {
        "reasoning_effort": "low",
        "enable_thinking": True,
    }
    assert _chat(reasoning_effort="none")["template"] == {"enable_thinking": False}
    assert _chat(continue_final_message=True)["continues"] is True
    assert _chat(logprobs=True)["logprobs"] == 0
    assert _chat(logprobs=True, top_logprobs=3)["logprobs"] == 3


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("messages", {"messages": []}),
    ("messages", {"messages": "Hello"}),
    ("messages[0]", {"messages": ["Hello"]}),
    ("messages[0]", {"messages": [{"role": "robot", "content": "x"}]}),
    ("messages[1].content", {"messages": [*HELLO, {"role": "user", "content": 5}]}),
    ("messages[0].content", {"messages": [{"role": "user", "content": [{"type": "file"}]}]}),
    ("messages[0].content.text", {"messages": [{"role": "user", "content": [{"type": "text"}]}]}),
    ("messages[0].content.image_url", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}),
    ("messages[0].tool_calls", {"messages": [{"role": "assistant", "tool_calls": [{"function": {}}]}]}),
    ("n", {"n": 2}),
    ("n", {"n": True}),
    ("temperature", {"temperature": "warm"}),
    ("temperature", {"temperature": -1}),
    ("temperature", {"temperature": True}),
    ("top_p", {"top_p": 1.5}),
    ("max_tokens", {"max_tokens": 0}),
    ("max_completion_tokens", {"max_completion_tokens": 1.5}),
    ("stop", {"stop": ["x"] * 17}),
    ("stop", {"stop": [1]}),
    ("logit_bias", {"logit_bias": {"word": 1}}),
    ("logit_bias.5", {"logit_bias": {"5": 101}}),
    ("top_logprobs", {"top_logprobs": 3}),
    ("top_logprobs", {"logprobs": True, "top_logprobs": 21}),
    ("response_format", {"response_format": {"type": "json_object"}}),
    ("tool_choice", {"tools": [TOOL], "tool_choice": "required"}),
    ("tool_choice", {"tools": [TOOL], "tool_choice": {"type": "function"}}),
    ("parallel_tool_calls", {"tools": [TOOL], "parallel_tool_calls": False}),
    ("tools", {"tools": [{"type": "web_search"}]}),
    ("functions", {"functions": [{"name": "f"}]}),
    ("function_call", {"function_call": "auto"}),
    ("prediction", {"prediction": {"type": "content"}}),
    ("audio", {"audio": {"voice": "alloy"}}),
    ("modalities", {"modalities": ["text", "audio"]}),
    ("web_search_options", {"web_search_options": {}}),
    ("generation_config", {"generation_config": "{"}),
    ("generation_config", {"generation_config": "[" * 100_000}),
    ("generation_config.top_p", {"generation_config": '{"top_p": 2}'}),
    ("chat_template_kwargs", {"chat_template_kwargs": []}),
]


@pytest.mark.parametrize(
    ("param", "fields"), REFUSED, ids=[f"{param}-{n}" for n, (param, _) in enumerate(REFUSED)]
)
def test_what_a_chat_cannot_have_is_refused_by_name(param: str, fields: dict[str, Any]) -> None:
    with pytest.raises(BadField) as refused:
        _chat(**fields)
    assert (refused.value.param, refused.value.status) == (param, 400)


def test_a_completion_goes_on_with_a_text_or_with_tokens() -> None:
    text, echo = completion_request(Fields({"prompt": ["Once"], "echo": True, "max_tokens": 2}))
    assert (text["prompt"], echo, text["raw"]) == ("Once", "Once", True)
    tokens, _ = completion_request(Fields({"prompt": [[1, 2.0]], "logprobs": 2}))
    assert (tokens["prompt"], tokens["logprobs"]) == ([1, 2], 2)
    refused: list[tuple[str, dict[str, Any]]] = [
        ("prompt", {}),
        ("prompt", {"prompt": ["one", "two"]}),
        ("prompt", {"prompt": [[1], [2]]}),
        ("prompt", {"prompt": [1, -2]}),
        ("suffix", {"prompt": "x", "suffix": "y"}),
        ("best_of", {"prompt": "x", "best_of": 2}),
        ("echo", {"prompt": [1], "echo": True}),
        ("echo", {"prompt": "x", "echo": True, "logprobs": 1}),
    ]
    for param, fields in refused:
        with pytest.raises(BadField) as error:
            completion_request(Fields(fields))
        assert error.value.param == param


def test_the_items_of_a_response_become_messages() -> None:
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
        {"type": "function_call", "call_id": "c2", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "rain"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Rain."}]},
        {"role": "user", "content": [{"type": "input_image", "image_url": IMAGE}]},
    ]
    tool = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": True}
    request = response_request(
        Fields({"input": items, "instructions": "Be brief.", "tools": [tool], "max_output_tokens": 5})
    )

    def call(name: str) -> dict[str, Any]:
        return {"id": name, "type": "function", "function": {"name": "weather", "arguments": "{}"}}

    assert request["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
        {"role": "assistant", "content": None, "tool_calls": [call("c1"), call("c2")]},
        {"role": "tool", "content": "rain", "tool_call_id": "c1"},
        {"role": "assistant", "content": [{"type": "text", "text": "Rain."}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": IMAGE}}]},
    ]
    assert request["tools"] == [TOOL]
    assert request["sampling"] == {"max_new_tokens": 5}
    content = [{"type": "input_text", "text": "Hello"}]
    assert response_request(Fields({"input": content}))["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "Hello"}]}
    ]


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("input", {"input": []}),
        ("input", {"input": [{"type": "web_search_call"}]}),
        ("input", {"input": [5]}),
        ("previous_response_id", {"input": "x", "previous_response_id": "resp_1"}),
        ("background", {"input": "x", "background": True}),
        ("truncation", {"input": "x", "truncation": "auto"}),
        ("text.format", {"input": "x", "text": {"format": {"type": "json_schema"}}}),
        ("tools", {"input": "x", "tools": [{"type": "web_search"}]}),
        ("include", {"input": "x", "include": ["file_search_call.results"]}),
    ],
)
def test_what_a_response_cannot_have_is_refused_by_name(param: str, fields: dict[str, Any]) -> None:
    with pytest.raises(BadField) as refused:
        response_request(Fields(fields))
    assert refused.value.param == param


def test_embeddings_are_of_texts() -> None:
    assert embeddings_request(Fields({"input": "a"})) == (["a"], False, {}, None)
    both = {"input": ["a", "b"], "encoding_format": "base64", "dimensions": 3}
    assert embeddings_request(Fields(both)) == (["a", "b"], True, {"dimensions": 3}, None)
    for param, fields in [
        ("input", {}),
        ("input", {"input": []}),
        ("input", {"input": ["a", None]}),
        ("dimensions", {"input": "a", "dimensions": 0}),
        ("encoding_format", {"input": "a", "encoding_format": "hex"}),
    ]:
        with pytest.raises(BadField) as refused:
            embeddings_request(Fields(fields))
        assert refused.value.param == param
