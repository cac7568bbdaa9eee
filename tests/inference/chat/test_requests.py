"""Requests for text: what reaches the chat template and the engine, and what is refused."""

from __future__ import annotations

import json
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
    WhisperFeatureExtractor,
)

from modelhub.errors import ModelhubError
from modelhub.generation import GenerationRequest
from modelhub.inference import chat_templates
from modelhub.inference.chat_templates import bound_templates
from modelhub.inference.data_uris import BadInputs
from modelhub.inference.images import decode_image
from modelhub.inference.interruption import Interruption
from modelhub.inference.pipelines import Predictor
from modelhub.inference.quota import Quota
from modelhub.inference.requests import PreparedRequest, context_of, prepare
from modelhub.limits import PredictionLimits
from modelhub.loader.finishing import LoadedModel
from modelhub.tasks import EXAMPLE_AUDIO, EXAMPLE_IMAGE
from tests.support.chat_templates import WEATHER, family_tokenizer
from tests.support.loads import run, spec_for
from tests.support.models import BYTE_TOKENS
from tests.support.task_models import make_llava, make_qwen2_vl

CONTEXT = 2048
USER = {"role": "user", "content": "Hello"}
SYSTEM = {"role": "system", "content": "Be kind."}
CALL = {
    "id": "call_0123456789",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"a": 1}'},
}
ROUND: list[dict[str, Any]] = [
    USER,
    {"role": "assistant", "content": None, "tool_calls": [CALL], "refusal": None},
    {"role": "tool", "tool_call_id": "call_0123456789", "content": "It rains."},
    {"role": "user", "content": "Thanks"},
]


def loaded(tokenizer: Any, **settings: Any) -> LoadedModel:
    """A tiny model for a tokenizer, as a load returns it."""
    config = LlamaConfig(
        hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
        **{**BYTE_TOKENS, "vocab_size": len(tokenizer), "max_position_embeddings": CONTEXT, **settings},
    )  # fmt: skip
    return LoadedModel(
        LlamaForCausalLM(config), tokenizer, "text-generation", cast(Any, {"architecture": "Llama"})
    )


@pytest.fixture(autouse=True, scope="module")
def _bounded_templates() -> None:
    bound_templates(None)


MODELS = {name: loaded(family_tokenizer(name)) for name in ("qwen", "llama", "gemma", "mistral", "deepseek")}


def ask(family: str, limits: PredictionLimits | None = None, **request: Any) -> PreparedRequest:
    request.setdefault("messages", [USER])
    if "prompt" in request:
        del request["messages"]
    return prepare(MODELS[family], cast(GenerationRequest, request), limits or PredictionLimits())


def prompt(family: str, **request: Any) -> str:
    """The text that the model goes on with."""
    return str(MODELS[family].processor.decode(ask(family, **request).input_ids))


def refusal(family: str = "qwen", **request: Any) -> str:
    with pytest.raises(BadInputs) as caught:
        ask(family, **request)
    return f"{caught.value} {caught.value.todo}"


@pytest.mark.parametrize("family", MODELS)
def test_a_chat_is_what_the_template_makes_of_it(family: str) -> None:
    chat = [USER, {"role": "assistant", "content": "Hi"}, {"role": "user", "content": "A\u20ac"}]
    tokenizer = MODELS[family].processor
    wanted = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)["input_ids"]
    assert ask(family, messages=chat).input_ids == wanted


def test_content_in_parts_is_one_text() -> None:
    parts = [{"type": "text", "text": "Hel"}, {"type": "input_text", "text": "lo"}]
    assert "user\nHel\nlo<|im_end|>" in prompt("qwen", messages=[{"role": "user", "content": parts}])


@pytest.mark.parametrize("family", ["qwen", "llama", "mistral", "deepseek"])
def test_a_round_of_tools(family: str) -> None:
    text = prompt(family, messages=ROUND, tools=[WEATHER])
    assert "get_weather" in text
    assert '{"a": 1}' in text, "the arguments are an object, not a text in quotation marks"
    assert "The weather of a city." in text or family == "deepseek"


def test_ids_of_calls_are_as_mistral_wants_them() -> None:
    text = prompt("mistral", messages=ROUND, tools=[WEATHER])
    short = text.partition('"id": "')[2][:9]
    assert short.isalnum()
    assert f'"call_id": "{short}"' in text


def test_reasoning_goes_back_to_the_template() -> None:
    chat = [USER, {"role": "assistant", "content": "Hi", "reasoning_content": "A user."}, USER]
    assert "<think>\nA user.\n</think>\n\nHi" in prompt("qwen", messages=chat)


def test_a_developer_is_the_system_where_the_template_has_none() -> None:
    text = prompt("qwen", messages=[{"role": "developer", "content": "Be kind."}, USER])
    assert text.startswith("<|im_start|>system\nBe kind.<|im_end|>")


def test_a_template_without_a_system_gets_it_with_the_first_message() -> None:
    assert "<start_of_turn>user\nBe kind.\n\nHello<end_of_turn>" in prompt("gemma", messages=[SYSTEM, USER])


def test_what_a_template_refuses_is_said_in_its_words() -> None:
    assert "roles must alternate" in refusal("gemma", messages=[USER, USER])
    assert "System role not supported" in refusal("gemma", messages=[SYSTEM])


def test_variables_of_the_template() -> None:
    assert prompt("qwen", template={"enable_thinking": False}).endswith("<think>\n\n</think>\n\n")
    assert prompt("qwen", template={"enable_thinking": True}).endswith("assistant\n")
    assert prompt("qwen", template={"unknown": "x" * 1_000}).endswith("assistant\n")


@pytest.mark.parametrize(
    "variables",
    [
        {"chat_template": "x"}, {"messages": "x"}, {"tools": None}, {"add_generation_prompt": False},
        {"tokenize": True}, {"conversation": "x"}, {"bos_token": "x"}, {"__class__": 1}, {"a b": 1},
        {"a": []}, {"a": {}}, {"a": "x" * 1_001}, {"a": 1e300}, {"a": float("nan")},
        {f"a{number}": 1 for number in range(33)}, [], "x", {"return_tensors": "pt"}, {"tokenizer_kwargs": 1},
    ],
    ids=str,
)  # fmt: skip
def test_other_variables_are_refused(variables: Any) -> None:
    assert refusal(template=variables) if variables else prompt("qwen", template=variables)


def test_the_last_message_goes_on() -> None:
    chat = [USER, {"role": "assistant", "content": "Hi the"}]
    assert prompt("qwen", messages=chat, continues=True).endswith("<|im_start|>assistant\nHi the")
    assert "not of the assistant" in refusal(messages=[USER], continues=True)


def test_reasoning_that_the_template_has_opened_is_reasoning() -> None:
    request = ask("deepseek")
    tokens = MODELS["deepseek"].processor("Hm</think>Yes", add_special_tokens=False)["input_ids"]
    frames = [request.reply.add(token) for token in tokens]
    assert "".join(frame.get("reasoning", "") for frame in frames) == "Hm"
    assert "".join(frame.get("text", "") for frame in frames) == "Yes"
    assert request.reply.reasoning_tokens == len("Hm</think>")


def test_raw_leaves_all_in_the_text() -> None:
    reply = ask("qwen", raw=True, tools=[WEATHER]).reply
    tokens = MODELS["qwen"].processor("<think>a</think><tool_call>{}</tool_call>", add_special_tokens=False)
    text = "".join(reply.add(token).get("text", "") for token in tokens["input_ids"])
    assert text == "<think>a</think><tool_call>{}</tool_call>"


def test_special_tokens_are_marks_only_where_there_are_tools() -> None:
    tokens = MODELS["mistral"].processor(
        '[TOOL_CALLS][{"name": "a", "arguments": {}}]', add_special_tokens=False
    )
    for more, text, reason in (
        ({"tools": [WEATHER]}, "", "tool_calls"),
        ({}, '[{"name": "a", "arguments": {}}]', "stop"),
    ):
        reply = ask("mistral", **more).reply
        frames = [*(reply.add(token) for token in tokens["input_ids"]), reply.end("stop")]
        assert "".join(frame.get("text", "") for frame in frames) == text
        assert reply.reason("stop") == reason
        assert reply.reason("length") == "length"


def test_predictions_take_a_round_of_tools_too() -> None:
    predictor = Predictor(MODELS["qwen"])
    chat = [{name: one for name, one in message.items() if name != "refusal"} for message in ROUND]
    outputs = predictor.predict(chat, {"max_new_tokens": 1, "tools": [WEATHER]})
    answered = outputs[0]["generated_text"]
    assert answered[1]["tool_calls"][0]["function"] == {"name": "get_weather", "arguments": {"a": 1}}
    assert answered[2]["tool_call_id"] == "call_0123456789"
    assert answered[-1]["role"] == "assistant"
    calls = [{"function": {"name": "a", "arguments": "{"}}]
    with pytest.raises(ModelhubError, match="arguments of a tool call"):
        predictor.predict([{"role": "assistant", "content": None, "tool_calls": calls}], {})
    with pytest.raises(ModelhubError, match="nothing else"):
        predictor.predict([{**USER, "image": "/etc/passwd"}], {})


# What is refused


@pytest.mark.parametrize(
    "messages",
    [
        [], {}, "Hello", None, ["Hello"], [{}], [{"role": "user", "content": 7}],
        [{"role": "root", "content": "x"}],
        [{"role": ["user"], "content": "x"}], [{"role": "function", "content": "x"}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": EXAMPLE_IMAGE}}]}],
        [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AAAA"}}]}],
        [{"role": "user", "content": [{"type": "video", "video": "/etc/passwd"}]}],
        [{"role": "user", "content": ["x"]}], [{"role": "user", "content": [{"type": "text", "text": None}]}],
        [{"role": "user", "content": "\ud83d"}],
        [{"role": "assistant", "tool_calls": [{}]}], [{"role": "assistant", "tool_calls": {"a": 1}}],
        [{"role": "assistant", "tool_calls": [{"function": {"name": "a", "arguments": "{"}}]}],
        [{"role": "assistant", "tool_calls": [{"function": {"name": "a", "arguments": "[1]"}}]}],
        [{"role": "assistant", "tool_calls": [{"function": {"name": "a b", "arguments": "{}"}}]}],
        [{"role": "assistant", "tool_calls": [{"function": {"name": "a", "arguments": "[" * 100_000}}]}],
        [{"role": "tool", "tool_call_id": "x" * 129, "content": "x"}],
        [USER] * 16_385,
    ],
    ids=lambda one: str(one)[:60],
)  # fmt: skip
def test_other_messages_are_refused(messages: Any) -> None:
    assert refusal(messages=messages)


@pytest.mark.parametrize(
    "tools",
    [
        {"a": 1}, "x", [7], [{}], [WEATHER] * 129, [{"type": "web_search"}], [{"function": {"name": ""}}],
        [{"function": {"name": "a", "parameters": 7}}], [{"function": {"name": "a", "description": 7}}],
        [{"function": {"name": "a", "parameters": json.loads('{"a":' * 40 + "1" + "}" * 40)}}],
    ],
    ids=lambda one: str(one)[:60],
)  # fmt: skip
def test_other_tools_are_refused(tools: Any) -> None:
    assert refusal(tools=tools)


def test_a_template_that_knows_no_tools_says_so() -> None:
    assert "knows no tools" in refusal("gemma", tools=[WEATHER])
    assert ask("gemma", tools=[])


@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": -1}, {"temperature": "hot"}, {"temperature": float("inf")}, {"top_p": 2},
        {"top_k": -1}, {"top_k": True}, {"seed": 1.5}, {"seed": 2**65}, {"max_new_tokens": 0},
        {"stop": "x"}, {"stop": ["x"] * 17}, {"stop": [""]}, {"stop": [7]}, {"logit_bias": {"x": 1}},
        {"logit_bias": {"9999": 1}}, {"logit_bias": {"1": 101}}, {"logit_bias": {"-1": 1}},
        {"logit_bias": {str(n): 1 for n in range(1_025)}}, {"logit_bias": [1]}, {"logit_bias": {"\u00b2": 1}},
        {"logit_bias": {"9" * 5_000: 1}}, {"num_beams": 2}, {"do_sample": 1}, {"presence_penalty": 3},
        {"\u00b2": 1},
    ],
    ids=lambda one: str(one)[:60],
)  # fmt: skip
def test_other_settings_are_refused(sampling: Any) -> None:
    assert refusal(sampling=sampling)


def test_settings_come_through() -> None:
    sampling = {
        "temperature": 0, "top_p": 0.5, "top_k": 3, "min_p": 0.1, "repetition_penalty": 1.1,
        "presence_penalty": -1, "frequency_penalty": 1, "logit_bias": {"5": -100}, "seed": 2**64 - 1,
        "do_sample": True, "max_new_tokens": 7, "min_new_tokens": 9, "stop": ["x"], "ignore_eos": True,
    }  # fmt: skip
    found = ask("qwen", sampling={**sampling, "stop": ["x"]}).sampling
    assert found == {**sampling, "min_new_tokens": 7}
    assert "top_k" not in ask("qwen", sampling={"top_k": None}).sampling


@pytest.mark.parametrize("count", [-1, 21, True, "2", 1.0])
def test_other_counts_of_logprobs_are_refused(count: Any) -> None:
    assert "logprobs" in refusal(logprobs=count)


def test_other_fields_are_refused() -> None:
    assert "no field padding" in refusal(padding=True)
    with pytest.raises(BadInputs, match="either messages or a prompt"):
        prepare(MODELS["qwen"], {}, PredictionLimits())
    with pytest.raises(BadInputs, match="either messages or a prompt"):
        prepare(MODELS["qwen"], {"messages": cast(Any, [USER]), "prompt": "x"}, PredictionLimits())


# How long prompt and answer may be


def test_how_many_tokens_the_answer_may_have() -> None:
    assert ask("qwen", prompt="x").sampling["max_new_tokens"] == 1024
    assert ask("qwen", prompt="x", sampling={"max_new_tokens": 9}).sampling["max_new_tokens"] == 9
    assert (
        ask("qwen", prompt="x", sampling={"max_new_tokens": 10**9}).sampling["max_new_tokens"] == CONTEXT - 2
    )
    few = PredictionLimits(max_new_tokens=5)
    assert ask("qwen", few, prompt="x").sampling["max_new_tokens"] == 5
    assert ask("qwen", few, prompt="x", sampling={"max_new_tokens": 6}).sampling["max_new_tokens"] == 5


def test_the_setting_of_the_model_is_its_default() -> None:
    model = loaded(family_tokenizer("qwen"))
    model.model.generation_config.max_new_tokens = 1_500
    assert prepare(model, {"prompt": "x"}, PredictionLimits()).sampling["max_new_tokens"] == 1_500


def test_a_prompt_that_is_too_long_is_refused_with_the_numbers() -> None:
    text = "x" * (CONTEXT - 2)
    assert ask("qwen", prompt=text).sampling["max_new_tokens"] == 1
    words = refusal(prompt=text + "x")
    assert f"{CONTEXT} tokens" in words
    assert f"have {CONTEXT}" in words
    assert refusal(messages=[{"role": "user", "content": text}])


def test_a_text_that_is_too_long_for_the_settings_is_refused() -> None:
    with pytest.raises(BadInputs, match="longer than"):
        ask("qwen", PredictionLimits(max_input_bytes=4), prompt="xxxxx")


def test_the_context_of_models_that_name_it_otherwise() -> None:
    assert (
        context_of(GPT2LMHeadModel(GPT2Config(n_embd=8, n_head=1, n_layer=1, n_positions=77, vocab_size=8)))
        == 77
    )
    assert context_of(BloomForCausalLM(BloomConfig(hidden_size=8, n_head=1, n_layer=1, vocab_size=8))) is None


# Prompts


def test_a_prompt_is_taken_as_it_is() -> None:
    assert ask("llama", prompt="Hi").input_ids == [
        256,
        *MODELS["llama"].processor("Hi", add_special_tokens=False)["input_ids"],
    ]
    assert ask("llama", prompt="<s>Hi").input_ids == ask("llama", prompt="Hi").input_ids, (
        "it has its own beginning"
    )
    assert ask("llama", prompt=[7, 8]).input_ids == [7, 8]
    assert ask("llama", prompt="").input_ids == [256]


@pytest.mark.parametrize(
    "tokens", [[], [-1], [10**6], [True], ["a"], [1.0], 7, None, {"a": 1}, [[1]]], ids=str
)
def test_other_prompts_are_refused(tokens: Any) -> None:
    assert refusal(prompt=tokens)


def test_an_answer_goes_on_with_the_space_of_its_first_word() -> None:
    request = ask("qwen", prompt="One")
    tokens = MODELS["qwen"].processor(" two", add_special_tokens=False)["input_ids"]
    assert "".join(request.reply.add(token).get("text", "") for token in tokens) == " two"


# Other models


def test_a_model_without_a_chat_template_says_what_to_do() -> None:
    tokenizer = family_tokenizer("qwen")
    tokenizer.chat_template = None
    with pytest.raises(BadInputs, match="no chat template") as caught:
        prepare(loaded(tokenizer), {"messages": [USER]}, PredictionLimits())
    assert "/v1/completions" in caught.value.todo
    assert prepare(loaded(tokenizer), {"prompt": "x"}, PredictionLimits()).input_ids


def test_a_template_by_name() -> None:
    tokenizer = family_tokenizer("qwen")
    tokenizer.chat_template = {"default": "d", "tool_use": "{{ tools | length }} t"}
    model = loaded(tokenizer)
    for tools, text in (([], "d"), ([WEATHER], "1 t")):
        found = prepare(model, {"messages": [USER], "tools": tools}, PredictionLimits())
        assert tokenizer.decode(found.input_ids) == text


def test_a_template_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_templates, "_SECONDS", 0.2)
    interruption = Interruption()
    bound_templates(interruption)
    tokenizer = family_tokenizer("qwen")
    tokenizer.chat_template = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    model = loaded(tokenizer)
    try:
        with pytest.raises(BadInputs, match=r"runs for more than 0\.2 s"):
            interruption.run(1, 0, lambda: prepare(model, {"messages": [SYSTEM]}, PredictionLimits()))
    finally:
        bound_templates(None)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LoadedModel]:
    """Models that take images: one that chats, one that does not."""
    folder = tmp_path_factory.mktemp("models")
    makers = {"qwen2-vl": make_qwen2_vl, "llava": make_llava}
    return {
        name: run(spec_for(f"tiny/{name}", make(folder / "tiny" / name).parents[1]))[1]
        for name, make in makers.items()
    }


PICTURE = {
    "role": "user",
    "content": [
        {"type": "text", "text": "what?"},
        {"type": "image_url", "image_url": {"url": EXAMPLE_IMAGE, "detail": "low"}},
    ],
}


def test_images_in_messages_become_tensors(pictures: dict[str, LoadedModel]) -> None:
    model = pictures["qwen2-vl"]
    found = prepare(model, {"messages": [PICTURE]}, PredictionLimits())
    assert {"pixel_values", "image_grid_thw"} <= found.extra.keys()
    assert (
        found.input_ids.count(model.model.config.image_token_id)
        == int(found.extra["image_grid_thw"].prod()) // 4
    )
    text = prepare(model, {"messages": [USER]}, PredictionLimits())
    assert text.extra == {}
    chat = [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]
    wanted = model.processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=True)
    assert text.input_ids == wanted[0]


def test_what_transformers_makes_of_an_image_chat(pictures: dict[str, LoadedModel]) -> None:
    model = pictures["qwen2-vl"]
    image = decode_image(EXAMPLE_IMAGE, Quota(PredictionLimits(), 16_000))
    chat = [
        {"role": "user", "content": [{"type": "text", "text": "what?"}, {"type": "image", "image": image}]}
    ]
    wanted = model.processor.apply_chat_template(
        chat, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    found = prepare(model, {"messages": [PICTURE]}, PredictionLimits())
    assert found.input_ids == wanted["input_ids"][0].tolist()
    assert found.extra["pixel_values"].equal(wanted["pixel_values"])


def test_a_model_of_images_that_knows_no_chats(pictures: dict[str, LoadedModel]) -> None:
    found = prepare(pictures["llava"], {"messages": [PICTURE]}, PredictionLimits())
    assert "pixel_values" in found.extra
    assert found.input_ids.count(pictures["llava"].model.config.image_token_index) > 1


def test_a_template_that_takes_no_parts_gets_a_text(pictures: dict[str, LoadedModel]) -> None:
    model = pictures["llava"]
    processor = copy(model.processor)
    processor.chat_template = "{% for message in messages %}a {{ message.content + ' b' }}{% endfor %}"
    found = prepare(replace(model, processor=processor), {"messages": [PICTURE]}, PredictionLimits())
    plain = prepare(model, {"messages": [PICTURE]}, PredictionLimits())
    image = model.model.config.image_token_index
    assert found.input_ids.count(image) == plain.input_ids.count(image)
    words = [token for token in found.input_ids if token != image]
    assert processor.tokenizer.decode(words, skip_special_tokens=True) == "a what? b"


@pytest.mark.parametrize(
    "url", ["https://example.org/a.png", "/etc/passwd", "file:///etc/passwd", "", None, 7, []]
)
def test_images_come_as_data_only(pictures: dict[str, LoadedModel], url: Any) -> None:
    for part in (
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "image", "image": url},
        {"type": "image", "url": url},
    ):
        message = {"role": "user", "content": [part]}
        with pytest.raises(BadInputs):
            prepare(pictures["qwen2-vl"], {"messages": [message]}, PredictionLimits())


def test_images_count(pictures: dict[str, LoadedModel]) -> None:
    for limits in (PredictionLimits(max_inputs=1), PredictionLimits(max_pixels=64 * 64 + 1)):
        with pytest.raises(BadInputs):
            prepare(pictures["qwen2-vl"], {"messages": [PICTURE, PICTURE]}, limits)


# Audio

HEARS = """\
{% for message in messages %}<|im_start|>{{ message.role }}\n{% for part in message.content %}
{%- if part.type == 'audio' %}<|AUDIO|>{% else %}{{ part.text }}{% endif %}{% endfor %}<|im_end|>
{% endfor %}{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"""


@pytest.fixture(scope="module")
def listener() -> LoadedModel:
    """A model that takes audio."""
    tokenizer = family_tokenizer("qwen")
    tokenizer.add_special_tokens(
        {"additional_special_tokens": ["<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>"]}
    )
    config = Qwen2AudioConfig(
        audio_config={
            "d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 16,
            "num_mel_bins": 80,
        },
        text_config={
            "model_type": "qwen2", "vocab_size": len(tokenizer), "hidden_size": 16, "intermediate_size": 16,
            "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2,
            "max_position_embeddings": CONTEXT,
        },
        audio_token_index=tokenizer.convert_tokens_to_ids("<|AUDIO|>"),
    )  # fmt: skip
    processor = Qwen2AudioProcessor(WhisperFeatureExtractor(), tokenizer, chat_template=HEARS)
    model = Qwen2AudioForConditionalGeneration(config).eval()
    return LoadedModel(model, processor, "text2text-generation", cast(Any, {}))


def hear(part: Any) -> GenerationRequest:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "what?"}, part]}]}


def test_audio_in_messages_becomes_tensors(listener: LoadedModel) -> None:
    data = EXAMPLE_AUDIO.partition(",")[2]
    parts = (
        {"type": "input_audio", "input_audio": {"data": data, "format": "flac"}},
        {"type": "audio", "audio": EXAMPLE_AUDIO},
    )
    for part in parts:
        found = prepare(listener, hear(part), PredictionLimits())
        assert found.extra.keys() == {"input_features", "feature_attention_mask"}
        assert found.input_ids.count(listener.model.config.audio_token_index) > 1
    ids = torch.tensor([found.input_ids])
    assert listener.model.generate(ids, **found.extra, max_new_tokens=2).shape[1] == ids.shape[1] + 2


@pytest.mark.parametrize("data", ["https://example.org/a.wav", "/etc/passwd", "", None, 7, "AAAA"])
def test_audio_comes_as_data_only(listener: LoadedModel, data: Any) -> None:
    for part in ({"type": "input_audio", "input_audio": {"data": data}}, {"type": "audio", "audio": data}):
        with pytest.raises(BadInputs):
            prepare(listener, hear(part), PredictionLimits())


def test_models_of_other_tasks_are_refused(made: Path) -> None:
    for name in ("bert", "vit"):
        model = run(spec_for(f"tiny/{name}", made))[1]
        with pytest.raises(BadInputs, match="none that goes on"):
            prepare(model, {"prompt": "x"}, PredictionLimits())
