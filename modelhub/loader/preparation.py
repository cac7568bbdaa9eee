"""What happens before a load: imports ahead of time in the zygote, settings in the process that loads."""

from __future__ import annotations

import importlib
import logging
import os

import torch
from huggingface_hub.utils.tqdm import disable_progress_bars
from transformers.utils import logging as transformers_logging

# What transformers would import only in the middle of a load.
_NEEDED = (
    "PIL.Image", "PIL.PngImagePlugin", "PIL.JpegImagePlugin", "safetensors.torch", "tokenizers",
    "transformers.modeling_utils", "transformers.core_model_loading", "transformers.conversion_mapping",
    "transformers.generation", "transformers.masking_utils", "transformers.modeling_rope_utils",
    "transformers.tokenization_utils_tokenizers", "transformers.convert_slow_tokenizer",
    "transformers.image_processing_utils", "transformers.processing_utils",
    "transformers.models.auto.modeling_auto", "transformers.models.auto.tokenization_auto",
    "transformers.pipelines.base", "transformers.pipelines.text_generation",
)  # fmt: skip


def warm() -> None:
    """Import what a load needs; computes nothing and starts no thread, so that a fork afterwards is safe."""
    for name in _NEEDED:
        importlib.import_module(name)


def prepare_process(threads: int | None = None) -> None:
    """Set up the process that loads a model: threads of torch (default: one per usable core), no bars."""
    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
    disable_progress_bars()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity(logging.ERROR)
