"""Bounds on a model that is built without its weights: a setting may ask for parts that no file has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.nn.modules.module import register_module_parameter_registration_hook

from modelhub.errors import ModelhubError

_EXTRA_TENSORS = 10_000
_EXTRA_BUFFER_BYTES = 2**28  # GPT-Neo's masks take 100 MB


class _TooMany(BaseException):
    """Ends the constructor of a model, whatever errors it catches."""


@contextmanager
def bounded_tensors(model_id: str, held: int) -> Iterator[None]:
    """A context to build a model in: raises ``bad_config`` once it has far more than ``held`` tensors."""
    limit = 10 * held + _EXTRA_TENSORS
    count = 0

    def registered(module: Any, name: str, parameter: Any) -> None:
        nonlocal count
        count += 1
        if count > limit:
            raise _TooMany

    hook = register_module_parameter_registration_hook(registered)
    try:
        yield
    except _TooMany:
        why = f"it describes more than {limit} tensors, but the files contain {held}."
        raise ModelhubError("bad_config", id=model_id, why=why) from None
    finally:
        hook.remove()


def check_buffers(model_id: str, skeleton: Any, held_bytes: int) -> None:
    """Raise ``bad_config`` where tables, which are in no file, are far larger than the weights."""
    size = sum(buffer.nbytes for buffer in skeleton.buffers())
    if size > 2 * held_bytes + _EXTRA_BUFFER_BYTES:
        why = f"it describes tables of {size} bytes, but the files contain {held_bytes}."
        raise ModelhubError("bad_config", id=model_id, why=why)
