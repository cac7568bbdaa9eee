"""Tells whether the files of a model have changed since they were looked at."""

from __future__ import annotations

import os

from modelhub.loader.files.opening import CONFIG, Files, real_path

Fingerprint = tuple[tuple[str, int, int, int], ...]


def fingerprint(files: Files) -> Fingerprint:
    """Name, inode, size and time of change of every file in the folder; empty if it has no configuration.

    Raises ``refused`` for a link that leads elsewhere, and OSError.
    """
    if not (files.folder / CONFIG).exists():
        return ()
    found = []
    with os.scandir(files.folder) as entries:
        for entry in entries:
            if entry.is_file():
                status = os.stat(real_path(files, entry.name))
                found.append((entry.name, status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(sorted(found))
