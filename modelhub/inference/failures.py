"""What a prediction failed with, in words: the exceptions of pipelines as failures of modelhub."""

from __future__ import annotations

import logging

import torch
from transformers.pipelines.base import PipelineException

from modelhub import tasks
from modelhub.errors import ModelhubError
from modelhub.inference.data_uris import BadInputs
from modelhub.loader.explain import explain_package, one_line

log = logging.getLogger(__name__)


def explain(error: BaseException, name: str, task: str) -> ModelhubError:
    """The failure to show for an exception of a pipeline; ``name`` is the model's, as errors show it."""
    todo = tasks.expected(task)
    if isinstance(error, BadInputs):
        return ModelhubError("bad_inputs", id=name, why=error, todo=error.todo or todo)
    if isinstance(error, torch.OutOfMemoryError):
        return ModelhubError("prediction_failed", why="the device ran out of memory.")
    if isinstance(error, MemoryError) or _is_out_of_memory(error):
        return ModelhubError("prediction_failed", why="it needs more memory than its process may take.")
    if isinstance(error, RecursionError):
        return ModelhubError("prediction_failed", why="a library called itself too deeply.")
    if not isinstance(error, Exception):
        # A library written in Rust panics, or one calls exit: that ends the prediction, not the model.
        log.warning("A pipeline raised %s", type(error).__name__, exc_info=error)
        return ModelhubError("prediction_failed", why=f"a library gave up ({type(error).__name__}).")
    if (missing := explain_package(error, name)) is not None:
        return missing
    if "index out of range in self" in str(error):
        why = "the text is longer than the model can take, with what it generates."
        return ModelhubError("bad_inputs", id=name, why=why, todo="Send a shorter text.")
    # The text of these names a Python object, which tells the sender of a request nothing.
    if isinstance(error, TypeError | KeyError | IndexError | AttributeError):
        log.warning("A pipeline raised %s", type(error).__name__, exc_info=error)
        why = "the model's pipeline expects inputs or parameters of another form."
        return ModelhubError("bad_inputs", id=name, why=why, todo=todo)
    if isinstance(error, PipelineException | ValueError):
        # The hint follows the message in one line.
        why = one_line(error).partition(": ")[2].rstrip(".") + "."
        return ModelhubError("bad_inputs", id=name, why=why, todo=todo)
    return ModelhubError("prediction_failed", why=one_line(error))


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether torch could not allocate memory of the machine, for which it has no exception of its own."""
    words = str(error) if isinstance(error, RuntimeError) else ""
    return "can't allocate memory" in words or "not enough memory" in words
