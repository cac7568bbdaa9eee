"""The devices and data types that a load can have on this machine, found without importing torch.

The web process checks a choice with it before a load begins; the process of the model, which has torch, has
the last word.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from modelhub.errors import ModelhubError

DEVICES = ("auto", "cpu", "cuda", "mps")
DTYPES = ("auto", "float32", "float16", "bfloat16")
DEVICE_PATTERN = r"^(auto|cpu|mps|cuda(:[0-9]{1,2})?)$"
# What torch's cuda devices have in /dev where they are not NVIDIA's own: AMD, WSL, Tegra.
_OTHER_GPUS = ("kfd", "dxg", "nvhost-gpu")


def devices() -> tuple[str, ...]:
    """What a person can choose from: auto, cpu, and the GPUs of this machine, as in ``DEVICES``.

    Several GPUs are ``cuda:0``, ``cuda:1``, and so on.
    """
    gpus = _gpu_count() if _torch_supports_gpus() else 0
    cuda = ("cuda",) if gpus == 1 else tuple(f"cuda:{number}" for number in range(gpus))
    return ("auto", "cpu", *cuda, *(["mps"] if _has_mps() else []))


def check_device(device: str) -> None:
    """Raise ``no_device`` for a device that this machine does not have."""
    if why_missing(device):
        raise ModelhubError("no_device", device=device)


def why_missing(device: str) -> str:
    """Why a device that matches DEVICE_PATTERN cannot be used here; empty if it can."""
    kind, _, number = device.partition(":")
    if kind == "mps" and not _has_mps():
        return "This machine is no Mac with Apple silicon."
    if kind == "cuda" and not _torch_supports_gpus():
        return "The installed torch was built without CUDA."
    if kind == "cuda" and int(number or 0) >= (count := _gpu_count()):
        return f"This machine has {count} GPUs, the first is cuda:0." if count else "No GPU was found."
    return ""


def _gpu_count(dev: Path = Path("/dev"), environ: Mapping[str, str] = os.environ) -> int:
    """How many GPUs the system has and CUDA_VISIBLE_DEVICES allows. Never run on a machine with one."""
    try:
        names = os.listdir(dev)
    except OSError:
        return 0
    count = sum(re.fullmatch(r"nvidia[0-9]+", name) is not None for name in names)
    count = count or any(name in names for name in _OTHER_GPUS)
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return count
    named = visible.split(",") if visible.strip() not in ("", "-1") else []
    return min(count, len(named))


@cache
def _torch_supports_gpus() -> bool:
    """Whether torch was built with CUDA or ROCm: its version.py says so, and importing it takes seconds."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    try:
        text = Path(spec.origin).with_name("version.py").read_text()
    except OSError:
        return True
    return re.search(r"^(cuda|hip)\b[^=\n]*= *['\"]", text, re.MULTILINE) is not None


def _has_mps() -> bool:
    return sys.platform == "darwin" and platform.machine() == "arm64"
