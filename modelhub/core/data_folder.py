"""The data folder, which a lock file reserves for one server at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from modelhub.errors import ModelhubError


class DataFolder:
    """``hold`` has to be called now and then: somebody may remove the folder while the server runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock_path = path / "modelhub.lock"
        self._descriptor: int | None = None

    def hold(self) -> bool:
        """Make the folder where it is missing, and lock it; returns whether that was to be done.

        Raises ModelhubError ``already_running`` where another server has locked it, OSError where it cannot
        be made or written to.
        """
        if self._descriptor is not None and _is_at(self._descriptor, self._lock_path):
            return False
        self.path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise ModelhubError("already_running") from None
        self.release()
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Let another server have it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one at ``path``."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False
