"""Checks what a model is asked to write, and makes tokens of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from modelhub.generation import GenerationRequest, Sampling
from modelhub.inference.chats import text_chat
from modelhub.inference.data_uris import BadInputs
from modelhub.inference.quota import Quota
from modelhub.inference.reply import Reply
from modelhub.limits import PredictionLimits
from modelhub.loader.finishing import LoadedModel
from modelhub.loader.processors import processor_part

_RATE = 16_000


@dataclass(slots=True)
class PreparedRequest:
    """A request as the engine takes it. ``extra`` are tensors beside the tokens, such as images."""

    input_ids: list[int]
    reply: Reply
    sampling: Sampling
    logprobs: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)


def prepare(loaded: LoadedModel, generation: GenerationRequest, limits: PredictionLimits) -> PreparedRequest:
    """Check a request and make tokens of it; raises BadInputs."""
    tokenizer = processor_part(loaded.processor, "tokenizer")
    if tokenizer is None or not loaded.model.can_generate():
        raise BadInputs("the model writes no text.")
    quota = Quota(limits, _RATE)
    if "messages" in generation:
        messages = text_chat(generation["messages"], quota)
        encoded = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)
    else:
        encoded = tokenizer(quota.text(generation.get("prompt", "")))
    sampling = generation.get("sampling", {})
    return PreparedRequest(list(encoded["input_ids"]), Reply(tokenizer), sampling)
