"""Predictions with a loaded model, through the transformers pipeline of its task."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from transformers.pipelines import SUPPORTED_TASKS
from transformers.utils import is_pytesseract_available

from modelhub import tasks
from modelhub.errors import ModelhubError
from modelhub.inference import own_pipelines
from modelhub.inference.chat_templates import bound_templates
from modelhub.inference.data_uris import BadInputs
from modelhub.inference.failures import explain
from modelhub.inference.generation import bound_generation
from modelhub.inference.image_text import Captions, ImageTextToText
from modelhub.inference.inputs import prepare_inputs
from modelhub.inference.interruption import Interrupted, Interruption
from modelhub.inference.masks import MaskGeneration
from modelhub.inference.outputs import to_json
from modelhub.inference.parameters import check_parameters
from modelhub.inference.quota import Quota
from modelhub.inference.speech import SpeechPipeline
from modelhub.limits import PredictionLimits
from modelhub.loader.finishing import LoadedModel
from modelhub.loader.processors import processor_part

_PARTS = ("tokenizer", "image_processor", "feature_extractor", "processor")
_DEFAULT_RATE = 16_000
_WRAPPERS: dict[str, Any] = {own.task: own for own in (ImageTextToText, MaskGeneration)}
_NO_PREDICTIONS = "modelhub has no predictions for models of its kind."


class Predictor:
    """Runs predictions on a loaded model; builds its pipelines when they are first used and keeps them.

    Not thread-safe: the worker process runs one prediction at a time.
    """

    def __init__(self, loaded: LoadedModel, interruption: Interruption | None = None) -> None:
        """``interruption`` can end each prediction, at the latest before the next pass through the model."""
        self.loaded = loaded
        self.task = loaded.task
        self._built: dict[str, Any] = {}
        bound_templates(interruption)
        if interruption is not None:
            loaded.model.register_forward_pre_hook(interruption.check)

    def predict(self, inputs: Any, parameters: dict[str, Any], limits: PredictionLimits | None = None) -> Any:
        """Run the task's pipeline on JSON ``inputs`` and return its output as JSON.

        ``modelhub.tasks`` has what each task takes and returns. Raises ``bad_inputs``, ``needs_package`` and
        ``prediction_failed``, and Interrupted if the prediction was stopped.
        """
        name = self.loaded.facts["architecture"]
        if self.task not in tasks.TASKS:
            raise ModelhubError(
                "bad_inputs", id=name, why=_NO_PREDICTIONS, todo="The page /docs lists the tasks that it has."
            )
        try:
            return self._predict(self.task, inputs, parameters, limits or PredictionLimits())
        except Interrupted:
            raise
        except BaseException as error:
            raise explain(error, name, self.task) from error

    def _predict(self, task: str, inputs: Any, parameters: dict[str, Any], limits: PredictionLimits) -> Any:
        quota = Quota(limits, self._sampling_rate())
        prepared, among_them = prepare_inputs(task, inputs, quota)
        pipeline = _pipeline_of(task, inputs)
        model = self.loaded.model
        given = {**among_them, **parameters}
        checked = check_parameters(pipeline, given, limits, model.can_generate())
        if "tools" in checked:
            checked["tools"] = quota.plain(checked["tools"])
        bound_generation(model, limits)
        runner = self._pipeline(pipeline)
        with torch.inference_mode():
            outputs = runner(prepared, **self._defaults(prepared), **checked)
            return to_json(outputs, limits.max_output_numbers)

    def _defaults(self, prepared: Any) -> dict[str, Any]:
        """Parameters that the pipeline needs and does not set itself."""
        config = self.loaded.model.config
        tokenizer = processor_part(self.loaded.processor, "tokenizer")
        if self.task == "document-question-answering" and tokenizer is not None:
            # Of a tokenizer whose settings name no longest text, it would take a number of 31 digits.
            positions = getattr(config, "max_position_embeddings", 512) - 2
            return {"max_seq_len": min(positions, tokenizer.model_max_length)}
        if self.task != "automatic-speech-recognition" or config.model_type != "whisper":
            return {}
        # Whisper hears 30 seconds at once, and more only with timestamps.
        sounds = prepared if isinstance(prepared, list) else [prepared]
        is_long = any(len(sound["raw"]) > 30 * sound["sampling_rate"] for sound in sounds)
        return {"return_timestamps": True} if is_long else {}

    def _sampling_rate(self) -> int:
        extractor = processor_part(self.loaded.processor, "feature_extractor")
        return int(getattr(extractor, "sampling_rate", _DEFAULT_RATE))

    def _pipeline(self, task: str) -> Any:
        if task not in self._built:
            self._built[task] = self._build(task)
        return self._built[task]

    def _build(self, task: str) -> Any:
        model = self.loaded.model
        parts = {name: processor_part(self.loaded.processor, name) for name in _PARTS}
        own = own_pipelines.OWN.get(task)
        if model.config.model_type == "vision-encoder-decoder":
            own = Captions
        if own is not None:
            for name in own.parts:
                _require(parts, name)
            return own(model, parts)
        module, _, class_name = SUPPORTED_TASKS[task]["impl"].rpartition(".")
        pipeline_class = getattr(importlib.import_module(module), class_name)
        for name in _PARTS:
            if getattr(pipeline_class, f"_load_{name}", False):
                _require(parts, name)
        given = {name: value for name, value in parts.items() if value is not None}
        reader = parts["image_processor"]
        if reader is not None and hasattr(reader, "apply_ocr") and not is_pytesseract_available():
            # It would read the words even where the request has them.
            reader.apply_ocr = False
        if task == "text-to-audio":
            return SpeechPipeline(pipeline_class, model, given)
        built = pipeline_class(model=model, task=task, device=model.device, **given)
        if task == "depth-estimation":
            built.postprocess = _in_float32(built.postprocess)
        wrapper = _WRAPPERS.get(task)
        return built if wrapper is None else wrapper(built)


def _pipeline_of(task: str, inputs: Any) -> str:
    """A model that compares texts does so with the pipeline of text classification."""
    is_pair = isinstance(inputs, dict) and "text_pair" in inputs
    return "text-classification" if task == "zero-shot-classification" and is_pair else task


def _in_float32(postprocess: Callable[..., Any]) -> Callable[..., Any]:
    """Convert the outputs of a model first: numpy has no bfloat16."""

    def convert(outputs: Any, **parameters: Any) -> Any:
        for name, value in outputs.items():
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                outputs[name] = value.float()
        return postprocess(outputs, **parameters)

    return convert


def _require(parts: dict[str, Any], name: str) -> Any:
    if parts[name] is None:
        words = name.replace("_", " ")
        raise BadInputs(f"the model has no {words}.", "Choose a revision of the model that has it.")
    return parts[name]
