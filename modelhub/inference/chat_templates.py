"""Renders chat templates, which are programs in a model's files: within bounds of time and memory.

transformers runs them in Jinja's sandbox, where they reach nothing, but may loop for ever and fill the
memory. It compiles them in one function, and renders them in one that two of its modules import.
"""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from jinja2.exceptions import SecurityError, TemplateError
from jinja2.sandbox import SandboxedEnvironment
from transformers import processing_utils, tokenization_utils_base
from transformers.utils import chat_template_utils

from modelhub import memory
from modelhub.inference.data_uris import BadInputs
from modelhub.inference.interruption import Interrupted, Interruption
from modelhub.loader.explain import one_line

_SECONDS = 5.0
_MEMORY_BYTES = 256 * 2**20
_MOST_BITS = 10_000  # of a whole number: to multiply longer ones is one call that nothing can end
_OPERATORS = frozenset(("*", "**"))
_FUNCTIONS = (
    (chat_template_utils, "_compile_jinja_template"),
    (processing_utils, "render_jinja_template"),
    (tokenization_utils_base, "render_jinja_template"),
)
_TODO = "Send a text instead of a chat, or choose another model."


def bound_templates(interruption: Interruption | None) -> None:
    """Have every chat template of this process rendered within bounds; of time only with ``interruption``."""
    sandbox: Any = SandboxedEnvironment
    sandbox.intercepted_binops, sandbox.call_binop = _OPERATORS, _call_binop
    for module, name in _FUNCTIONS:
        function = getattr(module, name)
        if isinstance(function, Bounded):
            function = function.function
        setattr(module, name, Bounded(function, interruption))


class Bounded:
    """A function that takes a chat template."""

    def __init__(self, function: Callable[..., Any], interruption: Interruption | None) -> None:
        self.function = function
        self._interruption = interruption

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        interruption = self._interruption
        in_time = contextlib.nullcontext() if interruption is None else interruption.at_most(_SECONDS)
        try:
            with in_time, _little_memory():
                return self.function(*args, **kwargs)
        except Interrupted as end:
            if interruption is None or not end.overdue or interruption.is_overdue:
                raise
            why = f"it runs for more than {_SECONDS:g} s."
        except MemoryError:
            why = f"it takes more than {_MEMORY_BYTES // 2**20} MB."
        except RecursionError:
            why = "it calls itself without end."
        except (TemplateError, OverflowError) as error:
            why = one_line(error).partition(": ")[2] or type(error).__name__
        raise BadInputs(f"the chat template of the model cannot be used: {why}", _TODO)


@contextmanager
def _little_memory() -> Iterator[None]:
    """A context in which this process gets little more memory than it has; MemoryError beyond that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = memory.data_bytes() + _MEMORY_BYTES
    is_lower = most > _MEMORY_BYTES and (soft == resource.RLIM_INFINITY or most < soft)
    if is_lower:
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    try:
        yield
    finally:
        if is_lower:
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _call_binop(environment: SandboxedEnvironment, context: Any, operator: str, left: Any, right: Any) -> Any:
    """Jinja's operators, without whole numbers of thousands of digits."""
    if operator in _OPERATORS and isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * right if operator == "**" else left.bit_length() + right.bit_length()
        if bits > _MOST_BITS:
            raise SecurityError("a number in it is too long")
    return environment.binop_table[operator](left, right)
