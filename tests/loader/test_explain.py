"""Any exception of a load becomes a ModelhubError."""

from __future__ import annotations

import errno

import httpx2
import pytest
import torch
from huggingface_hub.errors import OfflineModeIsEnabled
from safetensors import SafetensorError

from modelhub.checkpoints import LoadSpec
from modelhub.errors import ModelhubError
from modelhub.loader import explain

SPEC = LoadSpec("org/name", "/home/someone/models", "/home/someone/demos")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), "host_out_of_memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "host_out_of_memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), "device_out_of_memory"),
        (OSError(errno.ENOSPC, "No space left on device", "/home/someone/x"), "disk_full"),
        (SafetensorError("invalid header"), "corrupt"),
        (httpx2.ConnectError("refused"), "hub_unreachable"),
        (httpx2.ReadTimeout("slow"), "hub_unreachable"),
        (OfflineModeIsEnabled("offline"), "hub_unreachable"),
        (ModuleNotFoundError("No module named 'sentencepiece'", name="sentencepiece"), "needs_package"),
        (
            ImportError("X requires the timm library but it was not found. `pip install timm`"),
            "needs_package",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/home/someone/x"), "load_failed"),
        (KeyError("x"), "load_failed"),
    ],
)
def test_kinds_of_failure(error: Exception, code: str) -> None:
    shown = explain(error, SPEC)
    assert shown.code == code
    assert "org/name" in shown.message or code == "disk_full"
    assert "someone" not in shown.message + shown.hint


def test_the_package_is_named() -> None:
    assert "pip install timm" in explain(ImportError("requires the timm library"), SPEC).hint
    assert "pip install tiktoken" in explain(ModuleNotFoundError("x", name="tiktoken.load"), SPEC).hint


def test_a_modelhub_error_is_returned_unchanged() -> None:
    ours = ModelhubError("gated", id="org/name")
    assert explain(ours, SPEC) is ours


@pytest.mark.parametrize(
    "text", ["cannot open /home/someone/a b", "in '/home/someone/x.py', line 3", "file:///home/someone/x"]
)
def test_no_path_of_this_machine_is_in_the_message(text: str) -> None:
    assert "/home" not in explain(RuntimeError(text), SPEC).message
