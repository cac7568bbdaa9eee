"""Fixtures of the command line's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from tests.support.terminal import Running, Terminal
from tests.support.types import Run, StartTerminal

T = TypeVar("T", bound=Running)


@pytest.fixture
def run() -> Iterator[Run]:
    """Starts the command with its output piped: ``run(environ, "preload", "a/b")``."""
    yield from _starter(Running)


@pytest.fixture
def terminal() -> Iterator[StartTerminal]:
    """Starts the command on a pseudo-terminal: ``terminal(environ, "preload", "a/b")``."""
    yield from _starter(Terminal)


def _starter(kind: type[T]) -> Iterator[Callable[..., T]]:
    started: list[T] = []

    def start(environ: dict[str, str], *arguments: str) -> T:
        started.append(kind(environ, *arguments))
        return started[-1]

    yield start
    for running in started:
        running.end()
