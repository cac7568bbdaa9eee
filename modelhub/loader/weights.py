"""Step 5: the bytes read in parallel with an exact count, and from_pretrained over them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from transformers.utils import logging as transformers_logging

from modelhub.checkpoints import Checkpoint, checkpoint
from modelhub.loader import background
from modelhub.loader.files.inspection import Files, WeightFile
from modelhub.loader.mapped import assemble_mapped
from modelhub.loader.reading.reader import Reader
from modelhub.loader.strategy import Plan

STEP = 5


@dataclass(frozen=True, slots=True)
class Assembled:
    """A model on the CPU and what transformers said about its tensors."""

    model: Any
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()
    mapped: bool = False  # the short way was taken


class _Ticks:
    """Stands in for transformers' progress bar: counts tensors, and is where a cancel takes hold."""

    def __init__(self, cancel: background.Cancel) -> None:
        self._cancel = cancel
        self.count = 0
        self.total = 0

    def __call__(self, factory: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """transformers asks for a bar: over the tensors it gets ours, over anything else its own."""
        if kwargs.get("desc") != "Loading weights" or not args:
            return factory(*args, **{**kwargs, "disable": True})
        self.total = len(args[0])
        return self._iterate(args[0])

    def _iterate(self, items: Any) -> Iterator[Any]:
        for item in items:
            self._cancel.check()
            yield item
            self.count += 1


@contextmanager
def _ticking(ticks: _Ticks) -> Iterator[None]:
    previous = transformers_logging.set_tqdm_hook(ticks)
    try:
        yield
    finally:
        transformers_logging.set_tqdm_hook(previous)


def load_weights(
    plan: Plan, files: Files, weights: Sequence[WeightFile], reader: Reader
) -> Generator[Checkpoint, None, Assembled]:
    """Assemble beside the reading of ``reader``; yields bytes in memory, and tensors placed as the detail.

    Returns when every byte is in memory and the model is built. Raises ``corrupt`` for a file that shrank;
    other errors of transformers as they are.
    """
    tensors: list[_Ticks] = []

    def work(cancel: background.Cancel) -> Assembled:
        ticks = _Ticks(cancel)
        tensors.append(ticks)
        with _ticking(ticks):
            assembled = assemble(plan, files, weights, cancel)
        if assembled.mapped:
            ticks.count = ticks.total = sum(len(weight.tensors) for weight in weights)
        reader.wait(cancel)
        return assembled

    def describe() -> Checkpoint:
        return checkpoint(STEP, reader.done, reader.size, "bytes", _detail(reader, tensors))

    return (yield from background.run(work, describe))


def _detail(reader: Reader, tensors: Sequence[_Ticks]) -> str | None:
    ticks = tensors[0] if tensors else None
    if reader.done == reader.limit < reader.size:
        return "the rest stays on disk: it is more than memory holds"
    if reader.done < reader.size or ticks is None or not ticks.total:
        return reader.current
    return f"tensor {ticks.count} of {ticks.total}"


def assemble(plan: Plan, files: Files, weights: Sequence[WeightFile], cancel: background.Cancel) -> Assembled:
    """The model over its files, the short way where that is the same; no code of the model's own is run."""
    model = assemble_mapped(plan, files, weights, cancel)
    return _from_pretrained(plan, files) if model is None else Assembled(model, mapped=True)


def _from_pretrained(plan: Plan, files: Files) -> Assembled:
    model, info = plan.model_class.from_pretrained(
        files.folder,
        config=plan.config,
        dtype=plan.dtype,
        attn_implementation=plan.attention,
        trust_remote_code=False,
        use_safetensors=True,
        local_files_only=True,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
        **plan.extra,
    )
    mismatched = {entry if isinstance(entry, str) else entry[0] for entry in info["mismatched_keys"]}
    return Assembled(
        model,
        tuple(sorted(info["missing_keys"])),
        tuple(sorted(info["unexpected_keys"])),
        tuple(sorted(mismatched)),
    )
