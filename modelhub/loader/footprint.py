"""How much memory this process takes."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path


def memory_bytes() -> int:
    """The proportional share (PSS) on Linux, where shared pages count once; else the resident size."""
    try:
        text = Path("/proc/self/smaps_rollup").read_text()
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) * 1024
    except (OSError, StopIteration, ValueError):
        return _resident_bytes()


def _resident_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
