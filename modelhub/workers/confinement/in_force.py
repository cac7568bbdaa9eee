"""What confines the processes of models on this system; for the server, which imports no torch."""

from __future__ import annotations

import sys

from modelhub.errors import ModelhubError
from modelhub.payloads import Confinement
from modelhub.workers.confinement import landlock, seccomp


def in_force(mode: str) -> Confinement:
    """What is in force with ``mode`` (auto, strict, off)."""
    is_on = mode != "off"
    has_seccomp, has_landlock = seccomp.is_available(), landlock.version() > 0
    return {
        "mode": mode,
        "network": "off" if not is_on else "seccomp" if has_seccomp else "offline switches of the libraries",
        "files": "landlock" if is_on and has_landlock else "off",
        "memory": "limit" if is_on and sys.platform == "linux" else "off",
        "computing_time": "limit" if is_on else "off",
    }


def check(mode: str) -> None:
    """Raise ``no_sandbox`` where ``mode`` is strict and this system cannot do it."""
    if mode != "strict":
        return
    for name, is_here in (("seccomp", seccomp.is_available()), ("Landlock", landlock.version() > 0)):
        if not is_here:
            raise ModelhubError("no_sandbox", lacking=name, why="this system has none")
