"""The server without progress events: ``python -m tests.benchmarks.silent_server``.

Started by progress.py; it emits only the first and the last events of a load.
"""

from __future__ import annotations

from typing import Any

from modelhub.server import serve, start  # patches first of all

# isort: split
from modelhub.progress.adapter import ProgressAdapter


def _silence(*_: Any, **__: Any) -> None:
    """Emit nothing."""


ProgressAdapter.emit_progress = _silence  # type: ignore[method-assign]
ProgressAdapter.tick = _silence  # type: ignore[method-assign]
serve(start())
