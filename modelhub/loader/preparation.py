"""What happens before a load: the zygote imports modules ahead, and the loading process is set up."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
from collections.abc import Iterable

import torch
from huggingface_hub.utils.tqdm import disable_progress_bars
from transformers.conversion_mapping import get_checkpoint_conversion_mapping
from transformers.models.auto.configuration_auto import model_type_to_module_name
from transformers.utils import logging as transformers_logging

# Modules that transformers would import only during a load.
_MODULES = (
    "PIL.Image", "PIL.PngImagePlugin", "PIL.JpegImagePlugin", "safetensors.torch", "tokenizers",
    "transformers.modeling_utils", "transformers.core_model_loading", "transformers.conversion_mapping",
    "transformers.generation", "transformers.masking_utils", "transformers.modeling_rope_utils",
    "transformers.tokenization_utils_tokenizers", "transformers.convert_slow_tokenizer",
    "transformers.image_processing_utils", "transformers.processing_utils",
    "transformers.models.auto.modeling_auto", "transformers.models.auto.tokenization_auto",
    "transformers.pipelines.base", "transformers.pipelines.text_generation",
)  # fmt: skip


def import_ahead(model_types: Iterable[str] = ()) -> None:
    """Import what a load needs, and the modelling code of ``model_types`` (as config.json names them).

    Computes nothing and starts no thread, so that forking stays safe. A type that transformers does not know,
    or whose import fails, is skipped: its load reports the error.
    """
    for name in _MODULES:
        importlib.import_module(name)
    get_checkpoint_conversion_mapping("llama")  # compiles its patterns once, for all types
    for model_type in model_types:
        module = model_type_to_module_name(model_type)
        for part in ("configuration", "modeling"):
            with contextlib.suppress(Exception):
                importlib.import_module(f"transformers.models.{module}.{part}_{module}")


def prepare_process(threads: int | None = None) -> None:
    """Set up the process that loads a model: torch's threads (default: one per core), no progress bars."""
    torch.set_num_threads(threads or usable_cores())
    disable_progress_bars()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity(logging.ERROR)


def usable_cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
