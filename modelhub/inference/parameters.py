"""Which parameters of a request reach a pipeline."""

from __future__ import annotations

import inspect
from typing import Any

from transformers import GenerationConfig

from modelhub.inference.data_uris import BadInputs

# Parameters that would fetch or run something, or that are Python objects.
_REFUSED = frozenset((
    "assistant_model", "assistant_tokenizer", "custom_generate", "decoder", "forward_params",
    "generation_config", "kwargs", "load_image", "mm_processor_kwargs", "model", "parameters", "prefix",
    "preprocess_params", "processing_kwargs", "processor", "processor_kwargs", "self", "stopping_criteria",
    "timeout", "tokenize_kwargs", "tokenizer", "tokenizer_kwargs", "trust_remote_code",
))  # fmt: skip
# Parameters of pipelines that are not in the signature of _sanitize_parameters.
_KEYWORDS = {
    "zero-shot-image-classification": frozenset(("candidate_labels", "hypothesis_template")),
    "zero-shot-audio-classification": frozenset(("candidate_labels", "hypothesis_template")),
    "zero-shot-classification": frozenset(("candidate_labels", "hypothesis_template", "multi_label")),
    "zero-shot-object-detection": frozenset(("candidate_labels", "threshold", "top_k")),
    "object-detection": frozenset(("threshold",)),
    "image-segmentation": frozenset(
        ("subtask", "threshold", "mask_threshold", "overlap_mask_area_threshold")
    ),
}


def check_parameters(runner: Any, model: Any, parameters: dict[str, Any]) -> None:
    """Accept the task's own parameters and settings of text generation: no code, no other model.

    Raises BadInputs.
    """
    accepted = set(inspect.signature(runner._sanitize_parameters).parameters)
    accepted |= _KEYWORDS.get(runner.task, frozenset())
    if model.can_generate():
        accepted |= {name for name in GenerationConfig().to_dict() if not name.startswith("_")}
    accepted -= _REFUSED
    generation = parameters.get("generate_kwargs")
    for name in (*parameters, *(generation if isinstance(generation, dict) else ())):
        if name not in accepted:
            raise BadInputs(f"there is no parameter {name}.", f"Use some of: {', '.join(sorted(accepted))}.")
