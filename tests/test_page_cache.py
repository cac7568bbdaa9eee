"""What is in the page cache, asked in both ways of the kernel."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from modelhub.page_cache import PageCache
from tests.support.resident import drop, resident_bytes

PAGES = 512


@pytest.fixture
def half_cached(tmp_path: Path) -> Path:
    """A file of PAGES pages, of which the first half is in memory."""
    path = tmp_path / "weights"
    path.write_bytes(os.urandom(PAGES * mmap.PAGESIZE))
    drop(path)
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)  # no reading ahead
        os.pread(file.fileno(), PAGES // 2 * mmap.PAGESIZE, 0)
    assert resident_bytes(path) == PAGES // 2 * mmap.PAGESIZE
    return path


@pytest.mark.parametrize("machine", ["x86_64", "some-other"], ids=["cachestat", "mincore"])
def test_the_pages_in_memory_are_counted(
    half_cached: Path, machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    cache, size = PageCache(), PAGES * mmap.PAGESIZE
    with half_cached.open("rb") as file:
        assert cache.cached_pages(file.fileno(), 0, size) == PAGES // 2
        assert cache.cached_pages(file.fileno(), size // 4, size // 2) == PAGES // 4
        assert cache.is_cached(file.fileno(), 0, size // 2)
        assert not cache.is_cached(file.fileno(), 0, size)


def test_on_another_system_nothing_counts_as_cached(
    half_cached: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with half_cached.open("rb") as file:
        assert PageCache().cached_pages(file.fileno(), 0, mmap.PAGESIZE) is None
