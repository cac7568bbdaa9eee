"""Makes errors of the panics of libraries in Rust, which Python's ``except Exception`` does not catch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_PANIC = "PanicException"  # of pyo3_runtime, a module that cannot be imported


def is_panic(error: BaseException) -> bool:
    """Whether a library in Rust, such as tokenizers, found what it holds to be impossible."""
    return type(error).__name__ == _PANIC


@contextmanager
def panics_as_errors() -> Iterator[None]:
    """A context in which a panic becomes a RuntimeError with its text."""
    try:
        yield
    except BaseException as error:
        if not is_panic(error):
            raise
        raise RuntimeError(f"a library gave up: {error}") from error
