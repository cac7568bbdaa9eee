"""The fixtures of the loader's tests: models are loaded in this process, without a server."""

from __future__ import annotations

from tests.loader.conftest import _no_real_hub, _no_threads_left, made

__all__ = ["_no_real_hub", "_no_threads_left", "made"]
