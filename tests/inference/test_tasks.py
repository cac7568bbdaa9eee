"""Every task of modelhub.tasks, with a tiny model of it: the documented example has a result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelhub.errors import ModelhubError
from modelhub.inference.pipelines import Predictor
from modelhub.loader.strategy import _TASKS
from modelhub.tasks import EXAMPLE_AUDIO, EXAMPLE_IMAGE, TASKS
from tests.support.loads import run, spec_for
from tests.support.task_models import TASK_MODELS, make_videomae

ALL = [(task, name) for task, makers in TASK_MODELS.items() for name in makers]
# Of a model that generates 256 tokens by default.
SHORT = {
    "text-generation", "text2text-generation", "automatic-speech-recognition", "image-text-to-text",
    "visual-question-answering",
}  # fmt: skip
# Those of transformers are for trained models: a random one finds nothing.
LENIENT: dict[str, dict[str, Any]] = {
    "mask-generation": {
        "pred_iou_thresh": -10.0, "stability_score_thresh": -1.0,
        "points_per_crop": 4, "crops_nms_thresh": 1.0,
    },
    "object-detection": {"threshold": 0.0},
    "token-classification": {"ignore_labels": []},
}  # fmt: skip
KEYS: dict[str, set[str]] = {
    "text-generation": {"generated_text"},
    "text2text-generation": {"generated_text"},
    "fill-mask": {"score", "token", "token_str", "sequence"},
    "text-classification": {"label", "score"},
    "zero-shot-classification": {"sequence", "labels", "scores"},
    "token-classification": {"entity", "score", "index", "word", "start", "end"},
    "question-answering": {"answer", "score", "start", "end"},
    "text-to-audio": {"audio", "sampling_rate"},
    "automatic-speech-recognition": {"text"},
    "audio-classification": {"label", "score"},
    "zero-shot-audio-classification": {"label", "score"},
    "image-classification": {"label", "score"},
    "image-segmentation": {"label", "score", "mask"},
    "mask-generation": {"label", "score", "mask"},
    "object-detection": {"label", "score", "box"},
    "depth-estimation": {"depth", "predicted_depth"},
    "keypoint-matching": {"keypoint_image_0", "keypoint_image_1", "score"},
    "zero-shot-image-classification": {"label", "score"},
    "zero-shot-object-detection": {"label", "score", "box"},
    "image-text-to-text": {"generated_text"},
    "visual-question-answering": {"answer", "score"},
    "document-question-answering": {"answer", "score", "start", "end"},
}


@pytest.fixture(scope="module")
def predictors(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """``predictors(task, name)`` loads one of the tiny models, once."""
    folder = tmp_path_factory.mktemp("models")
    loaded: dict[tuple[str, str], Predictor] = {}

    def load(task: str, name: str, dtype: str = "auto") -> Predictor:
        if not (folder / "tiny" / name).exists():
            TASK_MODELS[task][name](folder / "tiny" / name)
        if (name, dtype) not in loaded:
            loaded[name, dtype] = Predictor(run(spec_for(f"tiny/{name}", folder, dtype=dtype))[1])
        return loaded[name, dtype]

    return load


def _parameters(predictor: Predictor, task: str) -> dict[str, Any]:
    is_long = task in SHORT and predictor.loaded.model.can_generate()
    return {**({"max_new_tokens": 4} if is_long else {}), **LENIENT.get(task, {})}


def test_each_task_that_a_model_can_have_is_described() -> None:
    of_base_models = {"feature-extraction", "image-feature-extraction", "zero-shot-audio-classification"}
    assert {task for task, _ in _TASKS} | of_base_models | {"zero-shot-classification"} == set(TASKS)


def test_each_task_has_a_tiny_model() -> None:
    # Its tokenizer needs pandas.
    assert set(TASKS) - set(TASK_MODELS) == {"table-question-answering"}


@pytest.mark.parametrize(("task", "name"), ALL)
def test_the_documented_example_has_a_result(predictors: Any, task: str, name: str) -> None:
    predictor = predictors(task, name)
    assert predictor.task == task
    outputs = predictor.predict(TASKS[task].example, _parameters(predictor, task))
    assert json.loads(json.dumps(outputs, allow_nan=False)) == outputs
    rows = outputs if isinstance(outputs, list) else [outputs]
    assert rows, "there is a result"
    if task in KEYS:
        assert set(rows[0]) == KEYS[task]
    else:
        assert isinstance(outputs[0][0][0], float)


@pytest.mark.parametrize(("task", "name"), ALL)
def test_every_task_runs_in_bfloat16(predictors: Any, task: str, name: str) -> None:
    predictor = predictors(task, name, "bfloat16")
    assert predictor.predict(TASKS[task].example, _parameters(predictor, task))


@pytest.mark.parametrize(("task", "name"), ALL)
@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"nothing": 1},
        [[]],
        [None],
        {"image": 7, "audio": 7, "text": 7},
        7,
        {"image": "", "question": "?"},
    ],
    ids=str,
)  # fmt: skip
def test_other_inputs_are_refused_with_an_example(predictors: Any, task: str, name: str, inputs: Any) -> None:
    predictor = predictors(task, name)
    with pytest.raises(ModelhubError) as caught:
        predictor.predict(inputs, _parameters(predictor, task))
    assert caught.value.code == "bad_inputs"
    assert caught.value.hint
    assert not any(word in caught.value.message for word in ("KeyError", "TypeError", "IndexError"))


def _one_model_of(*tasks: str) -> list[tuple[str, str]]:
    return [pair for pair in ALL if pair[0] in tasks]


@pytest.mark.parametrize(
    ("task", "name"),
    _one_model_of(
        "image-classification", "image-feature-extraction", "image-segmentation", "object-detection",
        "depth-estimation", "mask-generation",
    ),
)  # fmt: skip
def test_an_image_may_stand_in_an_object_and_in_a_list(predictors: Any, task: str, name: str) -> None:
    predictor = predictors(task, name)
    parameters = _parameters(predictor, task)
    alone = predictor.predict(EXAMPLE_IMAGE, parameters)
    assert predictor.predict({"image": EXAMPLE_IMAGE}, parameters) == alone
    assert len(predictor.predict([EXAMPLE_IMAGE, {"image": EXAMPLE_IMAGE}], parameters)) == 2


@pytest.mark.parametrize("name", sorted(TASK_MODELS["image-text-to-text"]))
def test_an_image_without_a_text_and_a_chat_are_answered_with_the_new_text_only(
    predictors: Any, name: str
) -> None:
    predictor = predictors("image-text-to-text", name)
    content = [{"type": "image", "url": EXAMPLE_IMAGE}, {"type": "text", "text": "what is this?"}]
    for inputs in (EXAMPLE_IMAGE, {"image": EXAMPLE_IMAGE}, [{"role": "user", "content": content}]):
        (answer,) = predictor.predict(inputs, {"max_new_tokens": 4})
        assert isinstance(answer["generated_text"], str)
        assert "what is this" not in answer["generated_text"]
        assert "base64" not in json.dumps(answer)


def test_the_whole_chat_comes_back_on_request_without_its_image(predictors: Any) -> None:
    predictor = predictors("image-text-to-text", "qwen2-vl")
    inputs = {"image": EXAMPLE_IMAGE, "text": "what is this?"}
    (answer,) = predictor.predict(inputs, {"max_new_tokens": 4, "return_full_text": True})
    first, second = answer["generated_text"]
    assert first["content"] == [{"type": "text", "text": "what is this?"}]
    assert second["role"] == "assistant"


def test_texts_are_compared_by_a_model_that_knows_entailment(predictors: Any) -> None:
    predictor = predictors("zero-shot-classification", "bert-nli")
    pair = {"text": "a man plays the guitar", "text_pair": "somebody makes music"}
    rows = predictor.predict(pair, {"top_k": 3})
    assert {row["label"] for row in rows} == {"contradiction", "neutral", "entailment"}
    labels = ["music", "garden"]
    assert predictor.predict("a guitar", {"candidate_labels": labels})["labels"]


def test_an_answer_is_found_in_a_text_longer_than_the_model_takes(predictors: Any) -> None:
    predictor = predictors("question-answering", "bert-answers")
    context = "the cat sat on the mat. " * 40
    for answer in predictor.predict({"question": "who sat?", "context": context}, {"top_k": 3}):
        assert context[answer["start"] : answer["end"]] == answer["answer"]
        assert len(answer["answer"]) > 0
    both = [{"question": "who?", "context": "the cat"}, {"question": "where?", "context": "the mat"}]
    assert len(predictor.predict(both, {})) == 2


def test_a_voice_can_be_chosen_for_speecht5_alone(predictors: Any) -> None:
    speech = predictors("text-to-audio", "speecht5")
    silent = speech.predict("Hello.", {})
    assert silent["audio"].startswith("data:audio/wav;base64,")
    assert silent["sampling_rate"] == 16_000
    assert speech.predict("Hello.", {"speaker_embeddings": [0.5] * 512})["audio"] != silent["audio"]
    with pytest.raises(ModelhubError) as caught:
        speech.predict("Hello.", {"speaker_embeddings": [0.5] * 3})
    assert "512" in caught.value.message
    with pytest.raises(ModelhubError):
        predictors("text-to-audio", "vits").predict("Hello.", {"speaker_embeddings": [0.5] * 512})


@pytest.mark.parametrize("name", ["forward_params", "preprocess_params", "processor_kwargs"])
def test_no_parameter_reaches_the_model_unchecked(predictors: Any, name: str) -> None:
    with pytest.raises(ModelhubError) as caught:
        predictors("text-to-audio", "speecht5").predict("Hello.", {name: {"custom_generate": "evil/code"}})
    assert f"no parameter {name}" in caught.value.message


@pytest.mark.parametrize("name", ["layoutlm", "layoutlmv3"])
def test_a_document_without_tesseract_needs_them_in_the_request(predictors: Any, name: str) -> None:
    predictor = predictors("document-question-answering", name)
    with pytest.raises(ModelhubError) as caught:
        predictor.predict({"image": EXAMPLE_IMAGE, "question": "What is the total?"}, {})
    assert caught.value.code == "bad_inputs"
    assert "word_boxes" in caught.value.message
    assert "word_boxes" in caught.value.hint


def test_a_model_of_videos_loads_and_says_that_it_has_no_predictions(tmp_path: Path) -> None:
    make_videomae(tmp_path / "tiny" / "videomae")
    predictor = Predictor(run(spec_for("tiny/videomae", tmp_path))[1])
    assert predictor.task is None
    with pytest.raises(ModelhubError) as caught:
        predictor.predict(EXAMPLE_IMAGE, {})
    assert caught.value.code == "bad_inputs"
    assert "/docs" in caught.value.hint


def test_a_sound_may_stand_in_an_object(predictors: Any) -> None:
    predictor = predictors("audio-classification", "wav2vec2-classes")
    assert predictor.predict({"audio": EXAMPLE_AUDIO}, {}) == predictor.predict(EXAMPLE_AUDIO, {})


def test_a_table_needs_a_package_that_the_message_names(tmp_path: Path) -> None:
    from transformers import TapasConfig, TapasForQuestionAnswering

    from tests.support.models import save

    config = TapasConfig(vocab_size=64, hidden_size=32, num_hidden_layers=1, num_attention_heads=2)
    folder = save(tmp_path / "tiny" / "tapas", TapasForQuestionAnswering(config))
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[EMPTY]"]
    (folder / "vocab.txt").write_text("\n".join(words))
    with pytest.raises(ModelhubError) as caught:
        run(spec_for("tiny/tapas", tmp_path))
    assert caught.value.code == "needs_package"
    assert "pandas" in caught.value.message
    assert caught.value.hint == "Run 'pip install pandas' and restart."
