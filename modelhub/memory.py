"""How much memory is free (host and control groups), and how much a process uses."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import psutil

_UNLIMITED = 1 << 60
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_RSS = ("RssAnon", "RssFile", "RssShmem")


class ProcessMemory(NamedTuple):
    """The memory of a process in bytes: ``total``, of that ``mapped`` from files and ``private`` to it."""

    total: int
    mapped: int
    private: int = 0


def process_memory(pid: int) -> ProcessMemory:
    """The memory of a process: PSS on Linux, else its resident size; zeros if it has exited."""
    try:
        sizes = _sizes(f"/proc/{pid}/smaps_rollup")
        private = sizes["Private_Clean"] + sizes["Private_Dirty"]
        return ProcessMemory(sizes["Pss"], sizes.get("Pss_File", 0), private)
    except (OSError, KeyError, ValueError):
        pass
    try:
        return ProcessMemory(psutil.Process(pid).memory_info().rss, 0)
    except (psutil.Error, OSError):  # it has exited, or no handle is left to read that
        return ProcessMemory(0, 0)


def private_bytes(pids: Iterable[int], timeout_s: float = 5.0) -> dict[int, int]:
    """How much each process has that no other shares; one that has exited is left out.

    The kernel walks all pages of a process to say so. Another process waits for that: this one, and its other
    threads, go on meanwhile. Where it cannot be said, it is the resident size.
    """
    paths = {f"/proc/{pid}/smaps_rollup": pid for pid in pids}
    command = ["grep", "-H", "^Private_", *paths]
    lines: list[str] = []
    if paths:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
            lines = done.stdout.splitlines()
    found: dict[int, int] = {}
    for line in lines:
        path, _, rest = line.partition(":")
        found[paths[path]] = found.get(paths[path], 0) + int(rest.split()[1]) * 1024
    if not found:
        found = {pid: size for pid in paths.values() if (size := resident_bytes(pid))}
    return found


def resident_bytes(pid: int) -> int:
    """The resident memory of a process, with all that it shares; 0 if it has exited. It is immediate."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError, ValueError):
        pass
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except (psutil.Error, OSError):  # it has exited, or no handle is left to read that
        return 0


def anonymous_bytes(pid: int) -> int:
    """The memory of a process that is neither mapped from files nor shared; 0 if that is not known.

    It is what the system does not count as available, whereas mapped files are in the page cache. It takes
    some 50 microseconds to read.
    """
    try:
        return _sizes(f"/proc/{pid}/status").get("RssAnon", 0)
    except (OSError, ValueError):
        return 0


def resident() -> ProcessMemory:
    """The resident memory of this process; pages shared with others count in full.

    It is immediate, whereas the proportional share takes the kernel 20 ms for each GB mapped.
    """
    try:
        sizes = _sizes("/proc/self/status")
        return ProcessMemory(sum(sizes[name] for name in _RSS), sizes["RssFile"])
    except (OSError, KeyError, ValueError):
        return ProcessMemory(psutil.Process().memory_info().rss, 0)


def data_bytes() -> int:
    """What this process may write to, touched or not, as RLIMIT_DATA counts it; 0 where that is not known."""
    try:
        return _sizes("/proc/self/status").get("VmData", 0)
    except (OSError, ValueError):
        return 0


def _sizes(path: str) -> dict[str, int]:
    """The lines of a file of /proc like ``Pss:  12 kB``, in bytes by name."""
    pairs = (line.split(":") for line in Path(path).read_text().splitlines() if line.endswith(" kB"))
    return {name: int(rest.split()[0]) * 1024 for name, rest in pairs}


def free_bytes(proc: Path = Path("/proc/self")) -> int:
    """Bytes that can still be allocated: the minimum over the host and each control group of this process.

    Page cache that can be reclaimed counts as free: MemAvailable of the host, inactive_file of a group.
    """
    return max(0, min([psutil.virtual_memory().available, *_group_free(proc)]))


def total_bytes(proc: Path = Path("/proc/self")) -> int:
    """The most bytes that this process could use: the minimum of the host's memory and the groups' limits."""
    limits = [limit for limit, _ in _groups(proc)]
    return min([psutil.virtual_memory().total, *limits])


def used_and_limit() -> tuple[int, int]:
    """What this process has and may have, in bytes: address space where that is limited (ulimit -v)."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit in (resource.RLIM_INFINITY, -1) or limit > total_bytes():
        return resident().total, total_bytes()
    return psutil.Process().memory_info().vms, limit


def _group_free(proc: Path) -> list[int]:
    return [limit - used for limit, used in _groups(proc)]


def _groups(proc: Path) -> list[tuple[int, int]]:
    """(limit, bytes in use that cannot be reclaimed) of every limited control group above, v1 and v2."""
    rows: list[tuple[int, int]] = []
    try:
        memberships = (proc / "cgroup").read_text().splitlines()
        mounts = _mounts(proc)
    except OSError:
        return rows
    for membership in memberships:
        number, controllers, path = membership.split(":", 2)
        version = 2 if number == "0" else 1
        if version == 1 and "memory" not in controllers.split(","):
            continue
        mount = mounts.get(version)
        if mount is None:
            continue
        root, top = mount
        relative = path.removeprefix(root) if root != "/" else path
        group = top / relative.lstrip("/")
        while True:
            row = _read_group(group, version)
            if row is not None:
                rows.append(row)
            if group == top or top not in group.parents:
                break
            group = group.parent
    return rows


def _mounts(proc: Path) -> dict[int, tuple[str, Path]]:
    """The mounts by version: (root of the mount inside the hierarchy, mount point)."""
    found: dict[int, tuple[str, Path]] = {}
    for line in (proc / "mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        fields, kind, options = left.split(), right.split()[0], right.split()[-1]
        if kind == "cgroup2":
            found[2] = (fields[3], Path(fields[4]))
        elif kind == "cgroup" and "memory" in options.split(","):
            found[1] = (fields[3], Path(fields[4]))
    return found


def _read_group(group: Path, version: int) -> tuple[int, int] | None:
    limit_name, usage_name, inactive = (
        ("memory.max", "memory.current", "inactive_file")
        if version == 2
        else ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    )
    try:
        raw_limit = (group / limit_name).read_text().strip()
        limit = _UNLIMITED if raw_limit == "max" else int(raw_limit)
        if limit >= _UNLIMITED:
            return None
        usage = int((group / usage_name).read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return limit, usage - int(stat.get(inactive, 0))
    except (OSError, ValueError):
        return None
