"""Environments of the peers that load measures against, made once in a folder and kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.server import ROOT

STREAMERS = ("runai-model-streamer==0.17.0", "fastsafetensors==0.5.0")


def python_of(folder: Path, name: str, *extra: str) -> Path:
    """The interpreter of environment ``name``: torch and transformers as pinned here, and ``extra``."""
    python = folder / name / "bin" / "python"
    done = folder / name / "complete"
    if not done.exists():
        print(f"making the environment {name}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(folder / name)], check=True)
        pins = (ROOT / "requirements.txt").read_text().split()
        shared = [pin for pin in pins if pin.startswith(("torch==", "transformers=="))]
        subprocess.run([python, "-m", "pip", "install", "-q", *shared, *extra], check=True)
        done.touch()
    return python


def serve_python(folder: Path) -> Path:
    """For ``transformers serve``."""
    return python_of(folder, "serve", "transformers[serving]")


def streamers_python(folder: Path) -> Path:
    """For runai-model-streamer and fastsafetensors."""
    return python_of(folder, "streamers", *STREAMERS)
