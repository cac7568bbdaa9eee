"""Runs loads to their end, for the tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelhub.checkpoints import Checkpoint, LoadSpec
from modelhub.errors import ModelhubError
from modelhub.loader import nine_steps
from modelhub.loader.explain import explain
from modelhub.loader.finishing import LoadedModel


def spec_for(model_id: str, models_dir: Path, demo_dir: Path | None = None, **more: Any) -> LoadSpec:
    """A load from ``models_dir``, on the CPU."""
    return LoadSpec(
        model_id, str(models_dir), str(demo_dir or models_dir / "no-demos"), **{"device": "cpu", **more}
    )


def run(
    spec: LoadSpec, admit: Callable[[int], None] = lambda need: None
) -> tuple[list[Checkpoint], LoadedModel]:
    """Every checkpoint of a load, and the model."""
    checkpoints = []
    load = nine_steps.load(spec, admit)
    while True:
        try:
            checkpoints.append(next(load))
        except StopIteration as end:
            return checkpoints, end.value


def failure(spec: LoadSpec) -> ModelhubError:
    """The error that a load ends with, as users see it; checks that it has no path of this machine."""
    with pytest.raises(Exception) as caught:  # noqa: PT011
        run(spec)
    error = explain(caught.value, spec)
    for folder in (spec.models_dir, spec.demo_dir, "/tmp", "site-packages"):
        assert folder not in error.message + error.hint
    return error


def steps(checkpoints: list[Checkpoint]) -> list[int]:
    """The steps in the order in which they began."""
    return list(dict.fromkeys(checkpoint.step for checkpoint in checkpoints))
