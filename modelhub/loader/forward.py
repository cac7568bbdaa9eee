"""Step 9: one real forward pass, with inputs built by the model's processor or from its configuration."""

from __future__ import annotations

import inspect
from typing import Any

import numpy
import torch
from PIL import Image

from modelhub.errors import ModelhubError
from modelhub.loader.background import Cancelled
from modelhub.loader.explain import one_line
from modelhub.loader.one_token import in_one_thread_if_small
from modelhub.loader.panics import panics_as_errors
from modelhub.loader.processors import processor_part

_TEXT = "a"
_IMAGE_SIZE = 224
_AUDIO_SECONDS = 1
_SAMPLING_RATE = 16_000


def run_forward(model_id: str, model: Any, processor: Any, inputs: dict[str, Any] | None = None) -> None:
    """Run the model once, with ``inputs`` if they were built before.

    Raises ``forward_failed``; MemoryError, torch.OutOfMemoryError, Cancelled and other errors of modelhub
    unchanged.
    """
    try:
        with panics_as_errors():
            inputs = inputs or build_inputs(model, processor)
            with torch.inference_mode(), in_one_thread_if_small(model, inputs):
                _run(model, processor, inputs)
    except (MemoryError, torch.OutOfMemoryError, Cancelled, ModelhubError):
        raise
    except Exception as error:
        raise ModelhubError("forward_failed", id=model_id, why=one_line(error)) from error


def _run(model: Any, processor: Any, inputs: dict[str, Any]) -> None:
    """Run the model; if it needs more than its main input, once more with an image and a decoder's input."""
    try:
        model(**inputs)
    except (TypeError, ValueError):
        taken = inspect.signature(model.forward).parameters
        if "pixel_values" not in taken or "pixel_values" in inputs:
            raise
        more = _image_inputs(model, processor)
        more["decoder_input_ids"] = torch.tensor([[_start_token(model)]])
        model(**inputs, **{name: _place(value, model) for name, value in more.items() if name in taken})


def build_inputs(model: Any, processor: Any) -> dict[str, Any]:
    """The smallest inputs that ``model.forward`` accepts, on its device and in its dtype.

    Raises ValueError for a model with another kind of main input than text, image, video or audio.
    """
    taken = inspect.signature(model.forward).parameters
    main = model.main_input_name
    inputs: dict[str, Any] = {}
    if main == "input_ids" or (main == "pixel_values" and _needs_text(taken)):
        inputs |= _text_inputs(model, processor)
    if main in ("pixel_values", "pixel_values_videos", "flattened_patches") or _needs_image(model, taken):
        inputs |= _image_inputs(model, processor)
    if main in ("input_values", "input_features"):
        inputs |= _audio_inputs(model, processor, main)
    elif hasattr(model, "get_audio_features") and hasattr(model, "get_text_features"):
        inputs |= _audio_inputs(model, processor, "input_features")
    if not inputs:
        raise ValueError(f"modelhub cannot build the inputs of a model that takes {main}")
    if getattr(model.config, "is_encoder_decoder", False) and "decoder_input_ids" in taken:
        inputs["decoder_input_ids"] = torch.tensor([[_start_token(model)]])
    if "decoder_input_values" in taken and "speaker_embeddings" in taken:
        inputs["decoder_input_values"] = torch.zeros(1, 2, model.config.num_mel_bins)
        inputs["speaker_embeddings"] = torch.zeros(1, model.config.speaker_embedding_dim)
    kept = {name: value for name, value in inputs.items() if name in taken}
    return {name: _place(value, model) for name, value in kept.items()}


def _needs_text(taken: Any) -> bool:
    return "input_ids" in taken and "pixel_values" in taken


def _needs_image(model: Any, taken: Any) -> bool:
    """Models that compare images with texts need both; models that describe images also run without one."""
    compares = hasattr(model, "get_image_features") and hasattr(model, "get_text_features")
    return compares and "pixel_values" in taken


def _text_inputs(model: Any, processor: Any) -> dict[str, Any]:
    tokenizer = processor_part(processor, "tokenizer")
    if tokenizer is not None:
        tokens = _tokens(tokenizer)
        if tokens["input_ids"].shape[-1] > 0:
            # One token only: a tokenizer may make many of one letter, and each takes time.
            return {name: value[:, :1] for name, value in tokens.items()}
    config = _text_config(model.config)
    size = getattr(config, "vocab_size", None) or 8
    ids = torch.tensor([[min(1, size - 1)]])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _tokens(tokenizer: Any) -> dict[str, Any]:
    try:
        return dict(tokenizer(_TEXT, return_tensors="pt"))
    except ValueError:
        # The tokenizers of models for documents take words with their places.
        return dict(tokenizer([_TEXT], boxes=[[0, 0, 1, 1]], return_tensors="pt"))


def _text_config(config: Any) -> Any:
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def _image_inputs(model: Any, processor: Any) -> dict[str, Any]:
    image_processor = processor_part(processor, "image_processor")
    frames = getattr(model.config, "num_frames", None)
    if image_processor is not None and not frames:
        image = Image.new("RGB", (_IMAGE_SIZE, _IMAGE_SIZE), (127, 127, 127))
        try:
            return dict(image_processor(images=image, return_tensors="pt"))
        except ValueError:
            # A model that compares two images takes no single one.
            return dict(image_processor(images=[image, image], return_tensors="pt"))
    config = getattr(model.config, "vision_config", model.config)
    size = getattr(config, "image_size", None) or _IMAGE_SIZE
    height, width = size if isinstance(size, list | tuple) else (size, size)
    shape = (getattr(config, "num_channels", 3), height, width)
    return {"pixel_values": torch.zeros(1, *((frames, *shape) if frames else shape))}


def _audio_inputs(model: Any, processor: Any, main: str) -> dict[str, Any]:
    extractor = processor_part(processor, "feature_extractor")
    rate = getattr(extractor, "sampling_rate", _SAMPLING_RATE)
    time = numpy.arange(rate * _AUDIO_SECONDS, dtype=numpy.float32) / rate
    sound = 0.1 * numpy.sin(2 * numpy.pi * 440 * time)
    if extractor is not None:
        return dict(extractor(sound, sampling_rate=rate, return_tensors="pt"))
    if main == "input_values":
        return {main: torch.from_numpy(sound)[None]}
    config = model.config
    bins = getattr(config, "num_mel_bins", None) or getattr(config, "feature_size", None) or 80
    frames = 2 * (getattr(config, "max_source_positions", None) or 1500)
    return {main: torch.zeros(1, bins, frames)}


def _start_token(model: Any) -> int:
    for config in (model.config, _text_config(model.config)):
        for name in ("decoder_start_token_id", "bos_token_id", "pad_token_id"):
            token = getattr(config, name, None)
            if isinstance(token, int) and token >= 0:
                return token
    return 0


def _place(value: Any, model: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    return value.to(model.device, model.dtype) if value.is_floating_point() else value.to(model.device)
