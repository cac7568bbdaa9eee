"""Conditions of loads that no server began, and what a machine without a history expects of them."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

from modelhub.payloads import Conditions
from modelhub.progress.history import History
from modelhub.progress.pace import Expect


def conditions(weight_bytes: int | None = None, **changes: Any) -> Conditions:
    """A load from a folder, its weights not in memory; from the hub where their size is not known."""
    found = {
        "source": "hub" if weight_bytes is None else "folder",
        "device": "cpu",
        "dtype": "auto",
        "start": "spare",
        "wait_s": 0.0,
        "weight_bytes": weight_bytes,
        "cached_bytes": 0,
        "fetch_bytes": None if weight_bytes is None else 0,
        "other_bytes": 5_000,
        "files": 0 if weight_bytes is None else 1,
        "others": 0,
    }
    return cast(Conditions, {**found, **changes})


def expecting(weight_bytes: int | None = None, **changes: Any) -> tuple[Conditions, Expect]:
    """The conditions, and what to expect in them."""
    return conditions(weight_bytes, **changes), partial(History().expect, "org/name")
