"""Ties a process to its parent, names it, and ranks it for the OOM killer.

On Linux only; elsewhere a child notices the exit of its parent by an end of file on its channel.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys

from setproctitle import setproctitle

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_NICE = 5
_OOM_SCORE, _OOM_SCORE_LOADING = 500, 800


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent exits; exits now if that has happened already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(1)


def adopt_orphans() -> None:
    """Make this process the parent of those of its descendants whose own parent ends (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def name_process(name: str, title: str) -> None:
    """Set the name that ``top`` shows, at most 15 characters (Linux), and the command line of ``ps -ef``."""
    setproctitle(title)
    # After the title, which sets the name too, cut to 15 characters.
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)


def prefer_as_oom_victim(is_loading: bool = False) -> None:
    """When memory runs out, let the kernel kill this process rather than the server, and a load rather than a
    model that is ready."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(str(_OOM_SCORE_LOADING if is_loading else _OOM_SCORE))
    except OSError:
        pass


def give_way() -> None:
    """Let the server go first where the cores are short, and have a crash write no memory to a disk.

    For a process with one thread: those that it starts inherit it.
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    # A program that takes dumps from a pipe is not asked either where the limit is one byte.
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1) if most != 0 else (0, 0))


def thread_count() -> int | None:
    """How many threads this process has; None if the system cannot say."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return None
