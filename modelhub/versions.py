"""The versions on this machine that decide how models load, found without importing torch."""

from __future__ import annotations

import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version

_LIBRARIES = ("torch", "transformers")


@cache
def versions() -> dict[str, str]:
    """Those of modelhub, torch and transformers, by name; empty where one is not installed."""
    return {"modelhub": str(sys.modules["modelhub"].__version__), **{name: _of(name) for name in _LIBRARIES}}


def _of(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""
