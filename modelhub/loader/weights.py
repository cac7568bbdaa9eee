"""Step 5: reads the weights with an exact count of bytes while the model is assembled from them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers.utils import logging as transformers_logging

from modelhub.checkpoints import Checkpoint, checkpoint
from modelhub.errors import ModelhubError
from modelhub.loader import background
from modelhub.loader.allocator import returning_memory
from modelhub.loader.explain import explain_package, is_out_of_memory, one_line
from modelhub.loader.files.opening import Files
from modelhub.loader.mapped import assemble_mapped, is_in_place
from modelhub.loader.mapped_files import mapped_files
from modelhub.loader.reading.reading import Reading
from modelhub.loader.strategy import Plan

STEP = 5


@dataclass(frozen=True, slots=True)
class Assembled:
    """A model on the CPU, and the names of tensors that did not match its files."""

    model: Any
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()
    mapped: bool = False  # by assemble_mapped, and not by from_pretrained


class _TensorCounter:
    """Counts the tensors that are converted; ``total`` is 0 where all are used as the files have them.

    Replaces transformers' progress bar too, and raises Cancelled between two tensors.
    """

    def __init__(self, total: int) -> None:
        self.cancel = background.Cancel()
        self.count = 0
        self.total = total

    def __call__(self, factory: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Called by transformers for each progress bar; all but that of the tensors are disabled."""
        if kwargs.get("desc") != "Loading weights" or not args:
            return factory(*args, **{**kwargs, "disable": True})
        self.total = len(args[0])
        return self._iterate(args[0])

    def _iterate(self, items: Any) -> Iterator[Any]:
        for item in items:
            self.cancel.check()
            yield item
            self.count_one()

    def count_one(self) -> None:
        """One more is in place."""
        self.count = min(self.count + 1, self.total)


@contextmanager
def _counting(counter: _TensorCounter) -> Iterator[None]:
    previous = transformers_logging.set_tqdm_hook(counter)
    try:
        yield
    finally:
        transformers_logging.set_tqdm_hook(previous)


def load_weights(
    plan: Plan,
    files: Files,
    reading: Reading,
    then: Callable[[Assembled], None],
    prepared: Assembled | None = None,
) -> Generator[Checkpoint, None, Assembled]:
    """Assemble the model while its files are read; yields the bytes in memory, with the tensors as detail.

    ``then`` is called as soon as the model is assembled, at once where it is ``prepared``. Where all bytes
    are in memory and tensors are still converted, these are counted instead. Returns when every byte is in
    memory. Raises ``corrupt`` for a file that has shrunk; errors of transformers are raised unchanged.
    """
    all_tensors = sum(len(weight.tensors) for weight in reading.weights)
    in_place = prepared is not None or is_in_place(plan, reading.weights)
    counter = _TensorCounter(0 if in_place else all_tensors)

    def work(cancel: background.Cancel) -> Assembled:
        counter.cancel = cancel
        with _counting(counter):
            assembled = prepared or assemble(plan, files, reading, cancel, counter.count_one)
        counter.count = counter.total = all_tensors
        then(assembled)
        reading.wait(cancel)
        return assembled

    def describe() -> Checkpoint:
        done = reading.done
        if done == reading.size and counter.count < counter.total:
            return checkpoint(STEP, counter.count, counter.total, "tensors", "converting them")
        return checkpoint(STEP, done, reading.size, "bytes", _detail(reading, done, counter))

    yield describe()
    return (yield from background.run(work, describe))


def _detail(reading: Reading, done: int, counter: _TensorCounter) -> str | None:
    if done == reading.limit < reading.size:
        return "the rest stays on disk: the model is larger than the free memory"
    if done < reading.size or not counter.total:
        return reading.current
    return f"tensor {counter.count} of {counter.total}"


def assemble(
    plan: Plan,
    files: Files,
    reading: Reading,
    cancel: background.Cancel,
    on_converted: Callable[[], None] = lambda: None,
) -> Assembled:
    """Build the model, by the fast path if possible. Never runs code from the model's repository."""

    def wait(names: list[str]) -> None:
        reading.wait_for_tensors(names, cancel)

    model = assemble_mapped(plan, files, reading.weights, wait, cancel, on_converted)
    if model is not None:
        return Assembled(model, mapped=True)
    with mapped_files(files, reading.weights, wait), returning_memory(), _as_quantized(plan, files):
        return _from_pretrained(plan, files)


@contextmanager
def _as_quantized(plan: Plan, files: Files) -> Iterator[None]:
    """Raise ``bad_config`` for what fails since the model is quantized in a way that cannot be had here."""
    try:
        yield
    except (ImportError, LookupError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        is_another = isinstance(error, torch.OutOfMemoryError) or is_out_of_memory(error)
        quantized = getattr(plan.config, "quantization_config", None)
        if quantized is None or is_another or explain_package(error, files.model_id) is not None:
            raise
        why = f"as it is quantized, {one_line(error, files.folder)}"
        raise ModelhubError("bad_config", id=files.model_id, why=why) from error


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
