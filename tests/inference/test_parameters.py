"""The parameters of predictions: an allowlist for each task, with types and ranges."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from modelhub.errors import ModelhubError
from modelhub.inference.data_uris import BadInputs
from modelhub.inference.generation import bound_generation
from modelhub.inference.parameters import check_parameters
from modelhub.inference.pipelines import Predictor
from modelhub.limits import PredictionLimits
from modelhub.task_parameters import GENERATION, fits
from modelhub.tasks import TASKS
from tests.support.loads import run, spec_for

LIMITS = PredictionLimits()
REACH_FILES_CODE_OR_MEMORY = (
    "generation_config", "custom_generate", "assistant_model", "assistant_tokenizer", "trust_remote_code",
    "prompt_lookup_num_tokens", "penalty_alpha", "num_beam_groups", "dola_layers", "constraints",
    "force_words_ids", "stop_strings", "guidance_scale", "tokenizer_kwargs", "tokenizer_encode_kwargs",
    "images_kwargs", "text_kwargs", "videos_kwargs", "processor_kwargs", "image_processor_kwargs",
    "cache_implementation", "cache_config", "compile_config", "watermarking_config", "output_attentions",
    "output_hidden_states", "return_dict_in_generate", "max_time", "bad_words_ids", "sequence_bias",
    "exponential_decay_length_penalty", "batch_size", "num_workers", "chat_template", "template", "padding",
    "prefix", "streamer", "logits_processor", "negative_prompt_ids", "inputs_embeds", "input_ids",
    "tesseract_config", "lang", "timeout", "load_audio_from_video", "synced_gpus", "", "__class__", "self",
)  # fmt: skip


@pytest.fixture(scope="module")
def llama(made: Path) -> Predictor:
    return Predictor(run(spec_for("tiny/llama", made))[1])


@pytest.mark.parametrize("task", sorted(TASKS))
def test_what_no_task_names_is_refused_with_what_there_is(task: str) -> None:
    for name in REACH_FILES_CODE_OR_MEMORY:
        with pytest.raises(BadInputs, match="there is no parameter") as caught:
            check_parameters(task, {name: 1}, LIMITS, can_generate=True)
        assert all(known in caught.value.todo for known in TASKS[task].parameters)
    for outer in ("generate_kwargs",):
        if outer in TASKS[task].parameters:
            for name in REACH_FILES_CODE_OR_MEMORY:
                with pytest.raises(BadInputs, match="there is no parameter generate_kwargs"):
                    check_parameters(task, {outer: {name: 1}}, LIMITS, can_generate=True)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("max_new_tokens", (0, -5, 10**8, 8_193, 10**4_000, True, 1.5, "many", [1], {})),
        ("max_length", (-5, 0, 10**8, True, "5")),
        ("min_length", (-1, 10**8)),
        ("min_new_tokens", (-1, 10**8)),
        ("num_return_sequences", (0, 9, 10**9, True)),
        ("num_beams", (0, 9, 10**6)),
        ("temperature", (0, 1e-300, -1.0, math.nan, math.inf, -math.inf, 10**400, True, "hot")),
        ("top_p", (-0.1, 1.1, math.nan)),
        ("top_k", (-1, 10**9, 1.5)),
        ("repetition_penalty", (0, -1, 1e-300, math.nan)),
        ("no_repeat_ngram_size", (-1, 10**6)),
        ("do_sample", (1, "yes", 0.0, [])),
        ("stop_sequence", (["x"] * 9, "x" * 101, [7], 7)),
        ("tools", ("x", [1], [{}] * 129)),
    ],
)
def test_a_value_out_of_range_is_refused_before_the_work(
    llama: Predictor, name: str, values: tuple[Any, ...]
) -> None:
    for value in values:
        with pytest.raises(ModelhubError) as caught:
            llama.predict("hello", {name: value})
        assert caught.value.code == "bad_inputs"
        assert caught.value.message.endswith(f"{name} cannot have that value.")
        assert caught.value.hint.startswith("It must be")


def test_each_value_at_the_edge_of_its_range_is_run(llama: Predictor) -> None:
    for name, parameter in GENERATION.items():
        schema = parameter.schema
        edges = (
            (True, False)
            if schema["type"] == "boolean"
            else (
                schema["minimum"],
                getattr(LIMITS, parameter.limit) if parameter.limit else schema["maximum"],
            )
        )
        for value in edges:
            if name == "max_length" or (name == "max_new_tokens" and value > 1):
                continue  # shorter than the inputs, and so long that it would take its time
            others: dict[str, Any] = {"max_new_tokens": 2}
            if name == "num_return_sequences":
                others["num_beams"] = value
            if name in ("temperature", "top_p", "top_k", "min_p", "typical_p"):
                others["do_sample"] = True
            assert llama.predict("hello", {**others, name: value}), (name, value)


def test_the_bounds_are_those_of_the_settings(llama: Predictor) -> None:
    few = PredictionLimits(max_new_tokens=3, max_sequences=1, max_input_bytes=4, max_inputs=2)
    for inputs, parameters in (
        ("hi", {"max_new_tokens": 4}),
        ("hi", {"num_beams": 2}),
        ("hello", {}),
        (["a", "b", "c"], {}),
        (["abc", "de"], {}),
    ):
        with pytest.raises(ModelhubError) as caught:
            llama.predict(inputs, {"max_new_tokens": 3, **parameters}, few)
        assert caught.value.code == "bad_inputs"
        if not parameters:
            assert "MODELHUB_MAX_INPUT" in caught.value.hint
    assert llama.predict("hi", {"max_new_tokens": 3}, few)


def test_a_value_that_is_null_is_as_if_it_were_not_there(llama: Predictor) -> None:
    assert llama.predict("hello", {"max_new_tokens": 2, "temperature": None, "stop_sequence": None})


def test_a_stop_sequence_ends_the_answer(llama: Predictor) -> None:
    (free,) = llama.predict("hello", {"max_new_tokens": 8, "do_sample": False, "return_full_text": False})
    first = free["generated_text"][0]
    (stopped,) = llama.predict(
        "hello",
        {"max_new_tokens": 8, "do_sample": False, "return_full_text": False, "stop_sequence": [first]},
    )
    assert stopped["generated_text"] == first


@pytest.mark.parametrize(
    "template",
    [
        "{:>1000000000}",
        "{0.__class__}",
        "{0}",
        "{}{}",
        "{",
        "}",
        "none",
        "{{}}",
        "{} {x}",
        "{!r:>9}",
        "x" * 301,
    ],
)
@pytest.mark.parametrize(
    "task", [name for name, task in TASKS.items() if "hypothesis_template" in task.parameters]
)
def test_a_template_has_one_place_for_the_label_and_nothing_else(task: str, template: str) -> None:
    with pytest.raises(BadInputs, match="hypothesis_template"):
        check_parameters(task, {"hypothesis_template": template}, LIMITS, can_generate=False)
    given = {"hypothesis_template": "This is {}."}
    assert check_parameters(task, given, LIMITS, can_generate=False) == given


@pytest.mark.parametrize("labels", [[], [""], ["x"] * 1_001, [7], ["x" * 301], {"a": 1}, 7, ","])
def test_labels_are_a_list_of_texts(labels: Any) -> None:
    with pytest.raises(BadInputs, match="candidate_labels"):
        check_parameters(
            "zero-shot-image-classification", {"candidate_labels": labels}, LIMITS, can_generate=False
        )


def test_labels_with_commas_are_several() -> None:
    checked = check_parameters(
        "zero-shot-classification", {"candidate_labels": "a, b"}, LIMITS, can_generate=False
    )
    assert checked == {"candidate_labels": ["a", "b"]}


def test_only_models_that_generate_have_the_settings_of_generation() -> None:
    task = "automatic-speech-recognition"
    assert check_parameters(task, {"max_new_tokens": 5}, LIMITS, can_generate=True)
    with pytest.raises(BadInputs, match="there is no parameter"):
        check_parameters(task, {"max_new_tokens": 5}, LIMITS, can_generate=False)


HOSTILE_CONFIG = {
    "max_length": 10**8, "max_new_tokens": 10**8, "min_length": 10**8, "min_new_tokens": 10**8,
    "num_beams": 10**6, "num_return_sequences": 10**6, "num_beam_groups": 4, "penalty_alpha": 0.6,
    "dola_layers": "high", "constraints": [1], "force_words_ids": [[1]], "cache_implementation": "static",
    "prompt_lookup_num_tokens": 10, "assistant_early_exit": 1, "max_time": 1e9, "stop_strings": ["x"],
    "temperature": 1e-300, "top_p": float("nan"), "repetition_penalty": 0.0, "no_repeat_ngram_size": -7,
    "output_hidden_states": True, "output_attentions": True, "return_dict_in_generate": True,
    "bad_words_ids": [[1]] * 20_000, "compile_config": {"mode": "max-autotune"}, "token_healing": True,
}  # fmt: skip


def test_the_own_settings_of_a_model_are_bounded_too(made: Path) -> None:
    hostile = Predictor(run(spec_for("tiny/llama", made))[1])
    config = hostile.loaded.model.generation_config
    for name, value in HOSTILE_CONFIG.items():
        setattr(config, name, value)
    bound_generation(hostile.loaded.model, LIMITS)
    for name, parameter in GENERATION.items():
        value = getattr(config, name)
        highest = getattr(LIMITS, parameter.limit) if parameter.limit else None
        assert value is None or fits(value, parameter.schema, highest), (name, value)
    config.min_new_tokens = None
    for name, value in HOSTILE_CONFIG.items():
        setattr(config, name, value)
    few = PredictionLimits(max_new_tokens=5, max_sequences=2)
    (*answers,) = hostile.predict("hello", {}, few)
    assert len(answers) <= 2
    assert all(len(one["generated_text"]) < 60 for one in answers)


def test_settings_of_a_model_that_are_in_range_stay(made: Path) -> None:
    model = run(spec_for("tiny/llama", made))[1].model
    model.generation_config.update(temperature=0.7, top_p=0.9, top_k=20, num_beams=2, max_new_tokens=2_048)
    before = model.generation_config.to_dict()
    bound_generation(model, LIMITS)
    assert model.generation_config.to_dict() == before
