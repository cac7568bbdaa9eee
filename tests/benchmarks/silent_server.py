"""The server that keeps to itself how loads are going: ``python -m tests.benchmarks.silent_server``.

Started by progress.py; only starts and ends are told.
"""

from __future__ import annotations

from typing import Any

from modelhub.server import serve, start  # patches first of all

# isort: split
from modelhub.progress.adapter import ProgressAdapter


def _silence(*_: Any, **__: Any) -> None:
    """Tell nothing."""


ProgressAdapter.emit_progress = _silence  # type: ignore[method-assign]
ProgressAdapter.tick = _silence  # type: ignore[method-assign]
serve(start())
