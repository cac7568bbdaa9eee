"""What ties a process to its parent and names it to the kernel (Linux; elsewhere end of file must do)."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_EASY_VICTIM = 500


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent dies; ends it now if that has happened already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(1)


def name_process(name: str) -> None:
    """What ``ps`` and ``top`` call this process, at most 15 characters (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)


def prefer_as_oom_victim() -> None:
    """When memory runs out, let the kernel take this process rather than the server."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(str(_EASY_VICTIM))
    except OSError:
        pass


def thread_count() -> int | None:
    """How many threads this process has; None where the system does not tell."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return None
