"""Steps 6 and 8, and the facts of the loaded model: checks the tensors, prepares for inference."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from modelhub import memory
from modelhub.checkpoints import Checkpoint, checkpoint
from modelhub.errors import ModelhubError
from modelhub.loader.device import tensors
from modelhub.loader.files.opening import Files, WeightFile
from modelhub.loader.files.origins import Origin
from modelhub.loader.files.pooling import Pooling
from modelhub.loader.processors import has_chat_template
from modelhub.loader.strategy import Plan
from modelhub.loader.weights import Assembled
from modelhub.payloads import Facts

# Only training uses these, and published models often come without them.
_TRAINING_ONLY = ("masked_spec_embed",)
_MAX_NAMES = 3
_CHATTING = ("text-generation", "image-text-to-text")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """The result of a load: a transformers model, its processor or None, its pipeline task, and its facts.

    ``pooling`` is how it makes embeddings, where its folder says so.
    """

    model: Any
    processor: Any
    task: str | None
    facts: Facts
    pooling: Pooling | None = None


def verify(files: Files, assembled: Assembled) -> Generator[Checkpoint, None, None]:
    """Check that every tensor came from the files, in its shape.

    Raises ``incomplete_weights`` or ``bad_config``. Tensors in the files that the model does not use are no
    failure: a checkpoint reports them.
    """
    if missing := missing_tensors(assembled):
        names = ", ".join(missing[:_MAX_NAMES])
        raise ModelhubError("incomplete_weights", id=files.model_id, count=len(missing), names=names)
    if assembled.mismatched:
        why = f"it gives {assembled.mismatched[0]} another shape than the files do."
        raise ModelhubError("bad_config", id=files.model_id, why=why)
    count = len(assembled.unexpected)
    if count:
        text = "1 tensor of the files is" if count == 1 else f"{count} tensors of the files are"
        yield checkpoint(6, detail=f"{text} not used by this model, such as {assembled.unexpected[0]}")


def missing_tensors(assembled: Assembled) -> list[str]:
    """The names of the tensors that the files lack; what only training uses does not count."""
    missing = [name for name in assembled.missing if not name.endswith(_TRAINING_ONLY)]
    on_meta = [name for _, _, name, tensor in tensors(assembled.model) if tensor.is_meta]
    return missing + [f"{name} (not in memory)" for name in on_meta]


def is_usable(assembled: Assembled) -> bool:
    """Whether ``verify`` will find nothing wrong."""
    return not missing_tensors(assembled) and not assembled.mismatched


def prepare_for_inference(model: Any) -> None:
    """Switch off dropout and gradients."""
    if model.training:
        model.eval()
    model.requires_grad_(False)


def prepared(plan: Plan) -> Generator[Checkpoint, None, None]:
    """Step 8: what ``prepare_for_inference`` has done."""
    yield checkpoint(8, detail=f"evaluation mode, no gradients, {plan.attention} attention")


def describe(
    origin: Origin,
    plan: Plan,
    assembled: Assembled,
    weights: Sequence[WeightFile],
    processor: Any,
    memory_before: int,
    pooling: Pooling | None,
) -> LoadedModel:
    """The loaded model and its facts. Measures the memory, so call it after the first forward pass."""
    model = assembled.model
    facts: Facts = {
        "device": str(plan.device),
        "dtype": str(plan.dtype).removeprefix("torch."),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "bytes": sum(weight.size for weight in weights),
        "architecture": type(model).__name__,
        "task": plan.task,
        "chats": plan.task in _CHATTING and has_chat_template(processor),
        "files": len(weights),
        "revision": origin.revision,
        "source": origin.kind,
        "attention": plan.attention,
        "memory": max(0, memory.resident().total - memory_before),
        "unused_tensors": len(assembled.unexpected),
    }
    return LoadedModel(model, processor, plan.task, facts, pooling)
