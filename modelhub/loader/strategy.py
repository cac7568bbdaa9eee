"""Step 4: decides how a model is loaded (class, task, dtype, device, attention) and the memory it needs."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers
from transformers import GenerationConfig, initialization
from transformers.models.auto import modeling_auto
from transformers.monkey_patching import patch_output_recorders
from transformers.utils.generic import ContextManagers

from modelhub.checkpoints import LoadSpec
from modelhub.errors import ModelhubError
from modelhub.loader.configuration import check_plausible
from modelhub.loader.explain import is_out_of_memory, one_line
from modelhub.loader.files import sizes
from modelhub.loader.files.headers import Tensor
from modelhub.loader.files.inspection import GENERATION
from modelhub.loader.files.opening import Files, WeightFile
from modelhub.loader.skeleton_bounds import bounded_tensors, check_buffers
from modelhub.loader.without_hub import without_hub

# Tasks of transformers' pipelines and the mappings of their models; the first mapping with the class counts.
_TASKS: tuple[tuple[str, str], ...] = (
    ("image-text-to-text", "IMAGE_TEXT_TO_TEXT"),
    ("automatic-speech-recognition", "SPEECH_SEQ_2_SEQ"),
    ("automatic-speech-recognition", "CTC"),
    ("automatic-speech-recognition", "TDT"),
    ("text-generation", "CAUSAL_LM"),
    ("text2text-generation", "SEQ_TO_SEQ_CAUSAL_LM"),
    ("fill-mask", "MASKED_LM"),
    ("text-classification", "SEQUENCE_CLASSIFICATION"),
    ("token-classification", "TOKEN_CLASSIFICATION"),
    ("document-question-answering", "DOCUMENT_QUESTION_ANSWERING"),
    ("visual-question-answering", "VISUAL_QUESTION_ANSWERING"),
    ("table-question-answering", "TABLE_QUESTION_ANSWERING"),
    ("question-answering", "QUESTION_ANSWERING"),
    ("image-classification", "IMAGE_CLASSIFICATION"),
    ("zero-shot-image-classification", "ZERO_SHOT_IMAGE_CLASSIFICATION"),
    ("object-detection", "OBJECT_DETECTION"),
    ("zero-shot-object-detection", "ZERO_SHOT_OBJECT_DETECTION"),
    ("image-segmentation", "IMAGE_SEGMENTATION"),
    ("image-segmentation", "SEMANTIC_SEGMENTATION"),
    ("image-segmentation", "INSTANCE_SEGMENTATION"),
    ("image-segmentation", "UNIVERSAL_SEGMENTATION"),
    ("mask-generation", "MASK_GENERATION"),
    ("keypoint-matching", "KEYPOINT_MATCHING"),
    ("depth-estimation", "DEPTH_ESTIMATION"),
    ("audio-classification", "AUDIO_CLASSIFICATION"),
    ("text-to-audio", "TEXT_TO_WAVEFORM"),
    ("text-to-audio", "TEXT_TO_SPECTROGRAM"),
)
_EXTRA_PARAMETERS = 64 * 10**6


@dataclass(frozen=True, slots=True)
class Plan:
    """How a model will be loaded; ``need_bytes`` is the memory that its weights will take."""

    model_class: Any
    config: Any
    task: str | None
    dtype: torch.dtype
    device: torch.device
    attention: str
    need_bytes: int
    skeleton: Any  # the model on the meta device
    extra: dict[str, bool] = field(default_factory=dict)  # more arguments of model_class


def make_plan(spec: LoadSpec, files: Files, config: Any, weights: Sequence[WeightFile]) -> Plan:
    """Plan a load.

    Raises ``unsupported``, ``no_device``, or ``bad_config`` if the configuration does not match the files.
    """
    check_plausible(files, config, weights)
    model_class, task = choose_class(files, config)
    dtype = _choose_dtype(spec, config, weights)
    extra = _without_pooler(model_class, weights)
    with without_hub(), bounded_tensors(files.model_id, sum(len(weight.tensors) for weight in weights)):
        attention, skeleton = _choose_attention(files, model_class, config, dtype, extra)
    _check_size(files, config, skeleton, weights)
    check_buffers(files.model_id, skeleton, sum(weight.size for weight in weights))
    _check_generation(files, skeleton)
    device = choose_device(spec.device)
    need = need_bytes(weights, dtype)
    return Plan(model_class, config, task, dtype, device, attention, need, skeleton, extra)


def choose_class(files: Files, config: Any) -> tuple[Any, str | None]:
    """The class named in the configuration and its task; else transformers' base class for the model type.

    Only names in transformers' own tables are accepted. Raises ``unsupported``.
    """
    for name in config.architectures or ():
        for task, mapping in _TASKS:
            if name in _class_names(f"MODEL_FOR_{mapping}_MAPPING_NAMES"):
                return _get_class(files, name), _refined(task, config)
        tables = [table for table in vars(modeling_auto) if table.endswith("_MAPPING_NAMES")]
        if any(name in _class_names(table) for table in tables):
            model_class = _get_class(files, name)
            return model_class, _base_task(model_class, config, name)
    model_class = modeling_auto.MODEL_MAPPING.get(type(config), None)
    if isinstance(model_class, list | tuple):
        model_class = model_class[0]
    if model_class is None:
        raise ModelhubError("unsupported", id=files.model_id, architecture=config.model_type)
    return model_class, _base_task(model_class, config, model_class.__name__)


def _refined(task: str, config: Any) -> str:
    """A classifier that knows entailment compares texts, and so a text with any labels."""
    labels = getattr(config, "label2id", None) or {}
    compares = any(str(label).lower().startswith("entail") for label in labels)
    return "zero-shot-classification" if task == "text-classification" and compares else task


def _class_names(table: str) -> set[str]:
    values = getattr(modeling_auto, table).values()
    return {name for value in values for name in ((value,) if isinstance(value, str) else value)}


def _get_class(files: Files, name: str) -> Any:
    model_class = getattr(transformers, name, None)
    if model_class is None or not hasattr(model_class, "from_pretrained"):
        raise ModelhubError("unsupported", id=files.model_id, architecture=name)
    return model_class


def _base_task(model_class: Any, config: Any, name: str) -> str | None:
    """The task of feature extraction for a base model; None for a model whose head no pipeline supports."""
    if name not in _class_names("MODEL_MAPPING_NAMES"):
        return None
    if hasattr(model_class, "get_audio_features") and hasattr(model_class, "get_text_features"):
        return "zero-shot-audio-classification"
    if model_class.main_input_name == "pixel_values":
        return "image-feature-extraction"
    text = model_class.main_input_name == "input_ids" and not getattr(config, "is_encoder_decoder", False)
    return "feature-extraction" if text else None


def _choose_dtype(spec: LoadSpec, config: Any, weights: Sequence[WeightFile]) -> torch.dtype:
    """The requested dtype, else that of the configuration, else that of most bytes in the files."""
    configured = None if config.dtype is None else str(config.dtype)
    return _as_dtype(sizes.count(_tensors(weights), configured).dtype(spec.dtype))


def _as_dtype(name: str) -> torch.dtype:
    dtype = getattr(torch, name.removeprefix("torch."), None)
    return dtype if isinstance(dtype, torch.dtype) and dtype.is_floating_point else torch.float32


def need_bytes(weights: Sequence[WeightFile], dtype: torch.dtype) -> int:
    """The bytes of all tensors with those of floating point converted to ``dtype``."""
    return sizes.count(_tensors(weights)).need_bytes(str(dtype))


def _tensors(weights: Sequence[WeightFile]) -> Iterator[Tensor]:
    return (tensor for weight in weights for tensor in weight.tensors)


def choose_device(requested: str) -> torch.device:
    """The device for a request: auto chooses cuda, else mps, else cpu. Raises ``no_device``."""
    kinds = [kind for kind in ("cuda", "mps", "cpu") if _has_device(kind)]
    if requested == "auto":
        return torch.device(kinds[0])
    kind, _, number = requested.partition(":")
    if kind not in kinds or (number and int(number) >= torch.cuda.device_count()):
        raise ModelhubError("no_device", device=requested)
    return torch.device(requested)


def _has_device(kind: str) -> bool:
    if kind == "cuda":
        return torch.cuda.is_available()
    return kind == "cpu" or torch.backends.mps.is_available()


def _without_pooler(model_class: Any, weights: Sequence[WeightFile]) -> dict[str, bool]:
    """Leave out a pooling layer that the files lack, as those of many encoders do: it would be random."""
    takes_it = "add_pooling_layer" in inspect.signature(model_class.__init__).parameters
    has_it = any("pooler." in tensor.name for weight in weights for tensor in weight.tensors)
    return {"add_pooling_layer": False} if takes_it and not has_it else {}


def _choose_attention(
    files: Files, model_class: Any, config: Any, dtype: torch.dtype, extra: dict[str, bool]
) -> tuple[str, Any]:
    """sdpa if the model supports it, else eager; and the skeleton that was built to find out."""
    failure: Exception | None = None
    for attention in ("sdpa", "eager"):
        try:
            return attention, _build_skeleton(model_class, config, dtype, extra, attention)
        except ImportError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise
            failure = failure or error
    assert failure is not None  # noqa: S101 - neither attention could be built
    raise ModelhubError("bad_config", id=files.model_id, why=one_line(failure)) from failure


def _build_skeleton(
    model_class: Any, config: Any, dtype: torch.dtype, extra: dict[str, bool], attention: str
) -> Any:
    """The model on the meta device, which takes no memory, built as from_pretrained builds it."""
    config = copy.deepcopy(config)
    config._attn_implementation = attention
    config.dtype = dtype
    contexts = model_class.get_init_context(dtype, False, False, None)
    with ContextManagers([*contexts, initialization.no_init_weights()]):
        model = model_class(config, **extra)
        patch_output_recorders(model)
    return model


def _check_generation(files: Files, skeleton: Any) -> None:
    """Raise ``bad_config`` where transformers would refuse these settings once the model is built."""
    if not skeleton.can_generate() or not (files.folder / GENERATION).exists():
        return
    try:
        GenerationConfig.from_pretrained(files.folder, local_files_only=True)
    except Exception as error:
        why = f"{GENERATION}: {one_line(error, files.folder)}"
        raise ModelhubError("bad_config", id=files.model_id, why=why) from error


def _check_size(files: Files, config: Any, skeleton: Any, weights: Sequence[WeightFile]) -> None:
    """Refuse a model much larger than its files: the rest would be random numbers, and fill the memory."""
    described = sum(parameter.numel() for parameter in skeleton.parameters())
    held = sum(tensor.count for weight in weights for tensor in weight.tensors)
    packed = 16 if getattr(config, "quantization_config", None) is not None else 1
    if described > 2 * packed * held + _EXTRA_PARAMETERS:
        why = f"it describes {described} parameters, but the files contain {held}."
        raise ModelhubError("bad_config", id=files.model_id, why=why)
