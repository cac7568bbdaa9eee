"""Predictions with a loaded model, through the transformers pipeline of its task."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import torch
from transformers import GenerationConfig
from transformers.pipelines import SUPPORTED_TASKS
from transformers.pipelines.base import PipelineException

from modelhub.errors import ModelhubError
from modelhub.inference.inputs import BadInputs, prepare_inputs
from modelhub.inference.outputs import to_json
from modelhub.loader.explain import one_line
from modelhub.loader.finishing import LoadedModel
from modelhub.loader.processors import processor_part

_PARTS = ("tokenizer", "image_processor", "feature_extractor", "processor")
_TEXT2TEXT = "text2text-generation"
# Parameters that would fetch or run something, or that are Python objects.
_REFUSED = frozenset((
    "assistant_model", "assistant_tokenizer", "custom_generate", "decoder", "generation_config", "kwargs",
    "load_image", "mm_processor_kwargs", "model", "parameters", "prefix", "processing_kwargs", "processor",
    "self", "stopping_criteria", "timeout", "tokenize_kwargs", "tokenizer", "tokenizer_kwargs",
    "trust_remote_code",
))  # fmt: skip
# Parameters of pipelines that are not in the signature of _sanitize_parameters.
_KEYWORDS = {
    "zero-shot-image-classification": frozenset(("candidate_labels", "hypothesis_template")),
    "zero-shot-object-detection": frozenset(("candidate_labels", "threshold", "top_k")),
    "object-detection": frozenset(("threshold",)),
    "image-segmentation": frozenset(
        ("subtask", "threshold", "mask_threshold", "overlap_mask_area_threshold")
    ),
}


class Predictor:
    """Runs predictions on a loaded model; builds its pipeline at the first one and keeps it.

    Not thread-safe: the worker process runs one prediction at a time.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded = loaded
        self.task = loaded.task
        self._built: Any = None

    def predict(self, inputs: Any, parameters: dict[str, Any]) -> Any:
        """Run the task's pipeline on JSON ``inputs`` and return its output as JSON.

        Text tasks take a text, a list of texts or chat messages; image and audio tasks take base64 data:
        URIs, audio also ``{"raw": [...], "sampling_rate": Hz}``. Raises ``bad_inputs`` and
        ``prediction_failed``.
        """
        name = self.loaded.facts["architecture"]
        if self.task is None:
            why = "transformers has no pipeline for it."
            raise ModelhubError("bad_inputs", id=name, why=why, todo="Choose another model.")
        try:
            inputs, parameters = _split_parameters(self.task, inputs, parameters)
            prepared = prepare_inputs(self.task, inputs)
            runner = self._pipeline()
            _check_parameters(runner, self.loaded.model, parameters)
        except BadInputs as error:
            raise ModelhubError("bad_inputs", id=name, why=error, todo=error.todo) from error
        try:
            with torch.inference_mode():
                return to_json(runner(prepared, **parameters))
        except torch.OutOfMemoryError as error:
            raise ModelhubError("prediction_failed", why="the device ran out of memory.") from error
        except (PipelineException, TypeError, ValueError, KeyError, IndexError) as error:
            todo = "Check the inputs and parameters."
            raise ModelhubError("bad_inputs", id=name, why=one_line(error), todo=todo) from error
        except Exception as error:
            raise ModelhubError("prediction_failed", why=one_line(error)) from error

    def _pipeline(self) -> Any:
        if self._built is None:
            self._built = self._build()
        return self._built

    def _build(self) -> Any:
        parts = {name: processor_part(self.loaded.processor, name) for name in _PARTS}
        if self.task == _TEXT2TEXT:
            return _Text2Text(self.loaded.model, _require(parts, "tokenizer"))
        module, _, class_name = SUPPORTED_TASKS[self.task]["impl"].rpartition(".")
        pipeline_class = getattr(importlib.import_module(module), class_name)
        for name in _PARTS:
            if getattr(pipeline_class, f"_load_{name}", False):
                _require(parts, name)
        given = {name: value for name, value in parts.items() if value is not None}
        return pipeline_class(
            model=self.loaded.model, task=self.task, device=self.loaded.model.device, **given
        )


def _require(parts: dict[str, Any], name: str) -> Any:
    if parts[name] is None:
        words = name.replace("_", " ")
        raise BadInputs(f"the model has no {words}.", "Choose a revision of the model that has it.")
    return parts[name]


def _split_parameters(task: str, inputs: Any, parameters: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Accept ``{"image": ..., "candidate_labels": [...]}``: transformers takes the labels as a parameter."""
    if task.startswith("zero-shot-image") and isinstance(inputs, dict) and "image" in inputs:
        rest = {name: value for name, value in inputs.items() if name != "image"}
        return inputs["image"], {**rest, **parameters}
    return inputs, parameters


def _check_parameters(runner: Any, model: Any, parameters: dict[str, Any]) -> None:
    """Accept the task's own parameters and settings of text generation: no code, no other model."""
    accepted = set(inspect.signature(runner._sanitize_parameters).parameters)
    accepted |= _KEYWORDS.get(runner.task, frozenset())
    if model.can_generate():
        accepted |= {name for name in GenerationConfig().to_dict() if not name.startswith("_")}
    accepted -= _REFUSED
    generation = parameters.get("generate_kwargs")
    for name in (*parameters, *(generation if isinstance(generation, dict) else ())):
        if name not in accepted:
            raise BadInputs(f"there is no parameter {name}.", f"Use some of: {', '.join(sorted(accepted))}.")


class _Text2Text:
    """The pipeline of encoder-decoder text models (T5, BART, Marian), which transformers 5 no longer has."""

    task = _TEXT2TEXT

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model = model
        self._tokenizer = tokenizer

    def _sanitize_parameters(self) -> None:
        """It has no parameters of its own, only settings of text generation."""

    def __call__(self, inputs: Any, **parameters: Any) -> Any:
        texts = inputs if isinstance(inputs, list) else [inputs]
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("text2text-generation takes a text or a list of texts")
        tokens = self._tokenizer(texts, return_tensors="pt", padding=len(texts) > 1, truncation=True)
        tokens.pop("token_type_ids", None)
        output = self._model.generate(**tokens.to(self._model.device), **parameters)
        texts = self._tokenizer.batch_decode(output, skip_special_tokens=True)
        return [{"generated_text": text} for text in texts]
