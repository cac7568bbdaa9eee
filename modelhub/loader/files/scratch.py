"""A temporary folder for small files."""

from __future__ import annotations

import os
import tempfile

_IN_MEMORY = "/dev/shm"  # noqa: S108 - tempfile makes a folder in it that nobody else can guess or open


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """An empty folder that is deleted at the end of its context; in memory where the system has a place.

    To delete a file on a disk that is being read takes 20 to 60 ms where the disk is told of every deletion
    (``mount -o discard``).
    """
    in_memory = os.path.isdir(_IN_MEMORY) and os.access(_IN_MEMORY, os.W_OK | os.X_OK)
    return tempfile.TemporaryDirectory(prefix="modelhub-", dir=_IN_MEMORY if in_memory else None)
