"""Predictions with a loaded model, through the transformers pipeline of its task."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from typing import Any

import torch
from transformers.pipelines import SUPPORTED_TASKS
from transformers.pipelines.base import PipelineException
from transformers.utils import is_pytesseract_available

from modelhub import tasks
from modelhub.errors import ModelhubError
from modelhub.inference import own_pipelines
from modelhub.inference.data_uris import BadInputs
from modelhub.inference.image_text import Captions, ImageTextToText
from modelhub.inference.inputs import prepare_inputs
from modelhub.inference.masks import MaskGeneration
from modelhub.inference.outputs import to_json
from modelhub.inference.parameters import check_parameters
from modelhub.inference.speech import SpeechPipeline
from modelhub.loader.explain import explain_package, one_line
from modelhub.loader.finishing import LoadedModel
from modelhub.loader.processors import processor_part

log = logging.getLogger(__name__)

_PARTS = ("tokenizer", "image_processor", "feature_extractor", "processor")
_DEFAULT_RATE = 16_000
_WRAPPERS: dict[str, Any] = {own.task: own for own in (ImageTextToText, MaskGeneration)}
_NO_PREDICTIONS = "modelhub has no predictions for models of its kind."


class Predictor:
    """Runs predictions on a loaded model; builds its pipelines when they are first used and keeps them.

    Not thread-safe: the worker process runs one prediction at a time.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded = loaded
        self.task = loaded.task
        self._built: dict[str, Any] = {}

    def predict(self, inputs: Any, parameters: dict[str, Any]) -> Any:
        """Run the task's pipeline on JSON ``inputs`` and return its output as JSON.

        ``modelhub.tasks`` has what each task takes and returns. Raises ``bad_inputs``, ``needs_package`` and
        ``prediction_failed``.
        """
        name = self.loaded.facts["architecture"]
        if self.task not in tasks.TASKS:
            raise ModelhubError(
                "bad_inputs", id=name, why=_NO_PREDICTIONS, todo="The page /docs lists the tasks that it has."
            )
        try:
            prepared, among_them = prepare_inputs(self.task, inputs, self._sampling_rate())
            parameters = {**among_them, **self._defaults(prepared), **parameters}
            runner = self._pipeline(_pipeline_of(self.task, inputs))
            check_parameters(runner, self.loaded.model, parameters)
            with torch.inference_mode():
                return to_json(runner(prepared, **parameters))
        except Exception as error:
            raise self._explain(error) from error

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

    def _explain(self, error: Exception) -> ModelhubError:
        """The failure to show for an exception of a pipeline."""
        name, todo = self.loaded.facts["architecture"], tasks.expected(str(self.task))
        if isinstance(error, BadInputs):
            return ModelhubError("bad_inputs", id=name, why=error, todo=error.todo or todo)
        if isinstance(error, torch.OutOfMemoryError):
            return ModelhubError("prediction_failed", why="the device ran out of memory.")
        if (missing := explain_package(error, name)) is not None:
            return missing
        if "index out of range in self" in str(error):
            why = "the text is longer than the model can take, with what it generates."
            return ModelhubError("bad_inputs", id=name, why=why, todo="Send a shorter text.")
        # The text of these names a Python object, which tells the sender of a request nothing.
        if isinstance(error, TypeError | KeyError | IndexError | AttributeError):
            log.warning("A pipeline raised %s", type(error).__name__, exc_info=error)
            why = "the model's pipeline expects inputs or parameters of another form."
            return ModelhubError("bad_inputs", id=name, why=why, todo=todo)
        if isinstance(error, PipelineException | ValueError):
            # The hint follows the message in one line.
            why = one_line(error).partition(": ")[2].rstrip(".") + "."
            return ModelhubError("bad_inputs", id=name, why=why, todo=todo)
        return ModelhubError("prediction_failed", why=one_line(error))

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
