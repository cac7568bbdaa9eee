"""Any exception of a load becomes a ModelhubError."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import httpx2
import pytest
import torch
from huggingface_hub.errors import OfflineModeIsEnabled
from safetensors import SafetensorError

from modelhub.checkpoints import LoadSpec
from modelhub.errors import ModelhubError
from modelhub.loader.explain import explain
from tests.support import models
from tests.support.loads import failure, spec_for

SPEC = LoadSpec("org/name", "/home/someone/models", "/home/someone/demos")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), "out_of_memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "out_of_memory"),
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
        (PermissionError(errno.EACCES, "Permission denied", "/home/someone/x"), "no_permission"),
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


BITSANDBYTES = (
    "Using `bitsandbytes` 4-bit quantization requires {0}: `pip install {1}`",
    "The `bitsandbytes` library is not installed",
)


@pytest.mark.parametrize(
    ("text", "package"),
    [
        (BITSANDBYTES[0].format("accelerate", "'accelerate>=1.1.0'"), "bitsandbytes"),
        (BITSANDBYTES[0].format("bitsandbytes", "-U bitsandbytes>=0.46.1"), "bitsandbytes"),
        (BITSANDBYTES[1], "bitsandbytes"),
        ("Loading an AutoRound quantized model requires it (`pip install 'auto-round>=0.5'`)", "auto-round"),
        ("Using `aqlm` requires AQLM: `pip install aqlm[gpu,cpu]`", "aqlm"),
        ("\nX requires the PIL library but it was not found: `pip install pillow`", "pillow"),
        ("\nX requires the PIL library but it was not found.", "pillow"),
        ("\nX requires the 🤗 Datasets library but it was not found", "datasets"),
        ("\nX requires the soxr library: `pip install transformers[audio]`", "soxr"),
        ("Pandas is required for the TAPAS tokenizer.", "pandas"),
    ],
)
def test_the_hint_has_a_command_with_a_real_package(text: str, package: str) -> None:
    shown = explain(ImportError(text), SPEC)
    assert shown.message.endswith(f": {package}.")
    assert shown.hint == f"Run 'pip install {package}' and restart."


def test_a_folder_quantized_with_bitsandbytes_names_that_package(tmp_path: Path) -> None:
    folder = models.make_llama(tmp_path / "tiny" / "llama")
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (folder / "config.json").write_text(json.dumps(config))
    error = failure(spec_for("tiny/llama", tmp_path))
    assert error.message.endswith(": bitsandbytes.")
    assert error.hint == "Run 'pip install bitsandbytes' and restart."


@pytest.mark.parametrize(
    "text",
    [
        "cannot import name 'x' from 'y'",
        "Using fbgemm fp8 quantization requires a GPU or XPU",
        "X requires PyTorch >= 2.6, but PyTorch was not found",
        "",
    ],
)
def test_a_package_that_is_not_known_gives_no_command(text: str) -> None:
    shown = explain(ImportError(text), SPEC)
    assert shown.code == "load_failed"
    assert "pip install" not in shown.message + shown.hint


@pytest.mark.parametrize(
    "error",
    [
        ImportError("\nXImageProcessor requires the Torchvision library but it was not found"),
        ImportError("torchaudio is required to resample. It can be installed: `pip install torchaudio`."),
        ModuleNotFoundError("No module named 'torchvision'", name="torchvision.ops"),
    ],
)
def test_no_hint_installs_what_could_replace_torch(error: ImportError) -> None:
    shown = explain(error, SPEC)
    assert shown.code == "needs_package"
    assert "torch" in shown.message
    assert "pip install" not in shown.hint


def test_a_modelhub_error_is_returned_unchanged() -> None:
    ours = ModelhubError("gated", id="org/name")
    assert explain(ours, SPEC) is ours


@pytest.mark.parametrize(
    "text", ["cannot open /home/someone/a b", "in '/home/someone/x.py', line 3", "file:///home/someone/x"]
)
def test_no_path_of_this_machine_is_in_the_message(text: str) -> None:
    assert "/home" not in explain(RuntimeError(text), SPEC).message
