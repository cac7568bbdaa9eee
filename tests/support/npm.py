"""Packages from npm that tests run with Node.js, as a lock file names them."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from pathlib import Path

LOCK = "package-lock.json"


def installed(source: Path, folder: Path) -> Path:
    """A copy of ``source`` in ``folder``, with its packages, which are fetched once for each lock file."""
    kept = folder / source.name
    if not kept.is_dir() or (kept / LOCK).read_text() != (source / LOCK).read_text():
        # Another test process may do the same now, so the folder appears whole or not at all.
        with tempfile.TemporaryDirectory(dir=folder) as made:
            new = Path(made) / "new"
            shutil.copytree(source, new)
            subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=new, check=True, timeout=300)
            with contextlib.suppress(OSError):
                if kept.is_dir():
                    kept.rename(Path(made) / "old")
                new.rename(kept)
    for script in source.glob("*.mjs"):
        shutil.copy(script, kept)
    return kept
