"""Free memory, with control groups that a test lays out as files."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from modelhub import memory

GB = 1_000_000_000


def _group(folder: Path, version: int, limit: str, usage: int, inactive: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = ("memory.max", "memory.current", "inactive_file")
    if version == 1:
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    (folder / names[0]).write_text(limit + "\n")
    (folder / names[1]).write_text(f"{usage}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{names[2]} {inactive}\n")


def _proc(folder: Path, membership: str, mount: str) -> Path:
    folder.mkdir()
    (folder / "cgroup").write_text(membership + "\n")
    (folder / "mountinfo").write_text(mount + "\n")
    return folder


def test_version_2_the_tightest_ancestor_counts(tmp_path: Path) -> None:
    top = tmp_path / "cgroup"
    _group(top / "a", 2, str(2 * GB), GB, GB // 2)
    _group(top / "a" / "b", 2, "max", GB // 2, 0)
    proc = _proc(tmp_path / "proc", "0::/a/b", f"30 20 0:26 / {top} rw - cgroup2 cgroup2 rw")
    assert memory.free_bytes(proc) == min(int(1.5 * GB), psutil.virtual_memory().available)
    assert memory.total_bytes(proc) == min(2 * GB, psutil.virtual_memory().total)


def test_version_1(tmp_path: Path) -> None:
    top = tmp_path / "memory"
    _group(top, 1, str(1 << 63), 5 * GB, 0)
    _group(top / "docker", 1, str(GB), GB // 2, GB // 4)
    proc = _proc(tmp_path / "proc", "4:memory:/docker", f"35 20 0:30 / {top} rw - cgroup cgroup rw,memory")
    assert memory.free_bytes(proc) == 750_000_000


def test_a_container_sees_its_own_group_as_the_mount(tmp_path: Path) -> None:
    top = tmp_path / "memory"
    _group(top, 1, str(GB), GB // 2, 0)
    proc = _proc(
        tmp_path / "proc", "4:memory:/docker/x", f"35 20 0:30 /docker/x {top} ro - cgroup cgroup rw,memory"
    )
    assert memory.free_bytes(proc) == GB // 2


def test_without_groups_the_host_counts(tmp_path: Path) -> None:
    free = memory.free_bytes(tmp_path / "nowhere")
    assert 0 < free <= psutil.virtual_memory().total


def test_more_used_than_allowed_is_nothing_free(tmp_path: Path) -> None:
    _group(tmp_path / "g", 2, str(GB), 2 * GB, 0)
    proc = _proc(tmp_path / "proc", "0::/g", f"30 20 0:26 / {tmp_path} rw - cgroup2 cgroup2 rw")
    assert memory.free_bytes(proc) == 0


def test_the_memory_of_a_process_and_of_one_that_has_exited() -> None:
    own = memory.process_memory(os.getpid())
    assert own.total > 10_000_000
    assert 0 <= own.mapped <= own.total
    assert memory.process_memory(2**22 + 1) == (0, 0, 0)


def test_resident_memory_grows_with_mapped_files(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(50_000_000))
    before = memory.resident()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert sum(mapped[:: mmap.PAGESIZE]) == 0
        after = memory.resident()
        assert 45_000_000 < after.mapped - before.mapped < 60_000_000
        assert after.total - before.total > 45_000_000


def test_what_only_one_process_has_is_told_from_what_it_shares(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(50_000_000))
    holder = (
        "import mmap, sys; file = open(sys.argv[1], 'rb');"
        "mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ); sum(mapped[:: mmap.PAGESIZE]);"
        "own = bytes(20_000_000).replace(bytes(1), b'x'); print('ready', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", holder, str(path)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as one, subprocess.Popen(command, **pipes) as other:
        for process in (one, other):
            assert process.stdout is not None
            process.stdout.readline()
        found = memory.private_bytes([one.pid, other.pid, 2**22 + 1])
        assert set(found) == {one.pid, other.pid}
        assert all(20_000_000 < private < 50_000_000 for private in found.values())
        assert memory.resident_bytes(one.pid) > 70_000_000
        other.communicate()
        assert memory.private_bytes([one.pid])[one.pid] > 70_000_000
        one.communicate()
    assert memory.private_bytes([one.pid]) == {}
    assert memory.resident_bytes(one.pid) == 0
