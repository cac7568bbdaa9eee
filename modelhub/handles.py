"""How many handles (file descriptors) this process may have open: as many as the system allows it.

The processes that it starts keep the limit that it had before: what they run may use select(), which knows
handles below 1,024 only.
"""

from __future__ import annotations

import contextlib
import resource

_UNLIMITED = 2**20
_before: tuple[int, int] | None = None


def raise_limit() -> int:
    """Raise the soft limit to the hard one; returns how many handles may be open."""
    global _before
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS allows less than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        _before = _before or (soft, hard)
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _UNLIMITED if limit == resource.RLIM_INFINITY else limit


def restore_limit(pid: int) -> None:
    """Give a process that was just started the limit that this one had before."""
    if _before is not None and hasattr(resource, "prlimit"):
        with contextlib.suppress(OSError):  # it has ended
            resource.prlimit(pid, resource.RLIMIT_NOFILE, _before)
