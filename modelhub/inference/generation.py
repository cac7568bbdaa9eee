"""A model's own settings of text generation: the bounds of a request hold for them too."""

from __future__ import annotations

import math
from typing import Any

from transformers import GenerationConfig

from modelhub.limits import PredictionLimits
from modelhub.task_parameters import GENERATION, fits

# Ways of generating that transformers has moved to repositories of code or that need another model, what a
# prediction does not return, caches and compilers that take memory and time of their own choosing.
_RESET = frozenset((
    "assistant_confidence_threshold", "assistant_early_exit", "assistant_ensemble_weight",
    "assistant_lookbehind", "cache_config", "cache_implementation", "compile_config", "constraints",
    "continuous_batching_config", "diversity_penalty", "dola_layers", "force_words_ids", "is_assistant",
    "low_memory", "max_cache_len", "max_matching_ngram_size", "max_time", "num_assistant_tokens",
    "num_assistant_tokens_schedule", "num_beam_groups", "output_attentions", "output_hidden_states",
    "output_logits", "output_scores", "penalty_alpha", "prefill_chunk_size", "prompt_lookup_num_tokens",
    "return_dict_in_generate", "speculation_type", "stop_strings", "target_lookbehind", "token_healing",
    "use_mtp", "watermarking_config",
))  # fmt: skip
_LISTS = ("bad_words_ids", "suppress_tokens", "begin_suppress_tokens", "sequence_bias", "eos_token_id")
_MOST_IN_LIST = 10_000


def bound_generation(model: Any, limits: PredictionLimits) -> None:
    """Take from the model's generation config what a request may not ask for either.

    What is out of its range becomes the default of transformers, or the limit where there is one.
    """
    config = getattr(model, "generation_config", None)
    if config is None:
        return
    _bound(config, limits)
    for value in list(vars(config).values()):
        if isinstance(value, GenerationConfig):  # models that generate in several stages
            _bound(value, limits)


def _bound(config: Any, limits: PredictionLimits) -> None:
    default = GenerationConfig()
    for name in _RESET & vars(config).keys():
        if getattr(config, name):
            setattr(config, name, getattr(default, name, None))
    for name in _LISTS:
        value = getattr(config, name, None)
        if isinstance(value, list | tuple | dict) and len(value) > _MOST_IN_LIST:
            setattr(config, name, getattr(default, name, None))
    if _too_long(config.max_length, limits):
        # It counts the prompt too, which may be longer than the limit.
        config.max_length = getattr(default, "max_length", None)
        config.max_new_tokens = config.max_new_tokens or limits.max_new_tokens
    for name, parameter in GENERATION.items():
        value = getattr(config, name, None)
        highest = getattr(limits, parameter.limit) if parameter.limit else None
        if value is None or fits(value, parameter.schema, highest):
            continue
        is_above = highest is not None and isinstance(value, int | float) and value > highest
        setattr(config, name, highest if is_above else getattr(default, name, None))


def _too_long(value: Any, limits: PredictionLimits) -> bool:
    return isinstance(value, int | float) and (value > limits.max_new_tokens or math.isnan(value))
