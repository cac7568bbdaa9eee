"""Folders of many small models, which are listed and never loaded."""

from __future__ import annotations

import json
from pathlib import Path

SLOW_FOLDER = Path(__file__).parent / "slow_folder"


def make_many(folder: Path, count: int, organizations: int = 40) -> Path:
    """A models folder with so many models, each with a configuration, weights and a tokenizer; returns it."""
    for number in range(count):
        model = folder / f"org{number % organizations:02}" / f"model-{number:04}"
        model.mkdir(parents=True)
        (model / "config.json").write_text(json.dumps({"model_type": "llama"}))
        (model / "model.safetensors").write_bytes(b"x" * 1000)
        (model / "tokenizer.json").write_text("{}")
    return folder


def on_slow_disk(folder: Path, call_s: float = 0.002) -> dict[str, str]:
    """The environment of a server for which ``folder`` lies on a disk that takes so long for each call."""
    return {"PYTHONPATH": str(SLOW_FOLDER), "SLOW_FOLDER": str(folder), "SLOW_CALL_S": str(call_s)}
