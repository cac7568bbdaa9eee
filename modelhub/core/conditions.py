"""What is known of a load before it begins: how much there is to fetch and to read, and what starts it."""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from modelhub.checkpoints import LoadSpec
from modelhub.core.scan import Entry
from modelhub.demos import is_made
from modelhub.page_cache import PageCache
from modelhub.payloads import Conditions
from modelhub.workers.launcher import Launcher

_WEIGHTS = ".safetensors"
# To ask for every page of 2 GB takes 5 ms. Samples tell as much: a file is cached whole or hardly at all.
_SAMPLES = 64
_SAMPLE_BYTES = 256 * 2**10


def conditions_of(
    launcher: Launcher,
    spec: LoadSpec,
    entry: Entry | None,
    others: int = 0,
    fetch_bytes: int | None = None,
) -> Conditions:
    """The conditions of a load that begins now; ``entry`` is the model's where it is on this machine.

    ``others`` is how many other loads run, ``fetch_bytes`` what is to be fetched where the list of the hub's
    files is known.
    """
    start, wait_s = launcher.start_of(spec), launcher.expected_wait_s()
    found = without_files(spec, entry, start, wait_s, others, fetch_bytes)
    if entry is None or entry.size_bytes is None:
        return found
    size = entry.size_bytes
    if entry.source == "demo" and not is_made(Path(spec.demo_dir, entry.model_id)):
        return {**found, "fetch_bytes": size}
    if entry.folder is not None:
        weights, other_bytes = _files(entry.folder)
        cached = round(size * cached_share(weights))
        found |= {"cached_bytes": cached, "other_bytes": other_bytes, "files": len(weights)}
    return found


def without_files(
    spec: LoadSpec,
    entry: Entry | None,
    start: str,
    wait_s: float,
    others: int,
    fetch_bytes: int | None,
) -> Conditions:
    """The conditions as far as they are known without a look at the files."""
    size = None if entry is None else entry.size_bytes
    return {
        "source": "hub" if entry is None or size is None else entry.source,
        "device": spec.device,
        "dtype": spec.dtype,
        "start": start,
        "wait_s": round(wait_s, 3),
        "weight_bytes": size,
        "cached_bytes": 0,
        "fetch_bytes": fetch_bytes if size is None else 0,
        "other_bytes": 0,
        "files": 0,
        "others": others,
    }


def _files(folder: Path) -> tuple[list[tuple[Path, int]], int]:
    """The weight files with their sizes, and the bytes of all other files of a load."""
    weights: list[tuple[Path, int]] = []
    other_bytes = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                status = entry.stat()
                if stat.S_ISREG(status.st_mode) and entry.name.endswith(_WEIGHTS):
                    weights.append((Path(entry.path), status.st_size))
                elif stat.S_ISREG(status.st_mode) and entry.name.endswith((".json", ".txt", ".model")):
                    other_bytes += status.st_size
    except OSError:
        pass  # the load will say why
    return weights, other_bytes


def cached_share(files: list[tuple[Path, int]]) -> float:
    """How much of these files is in the page cache, 0 to 1, by samples; 0 where the kernel cannot say."""
    cache, cached, asked = PageCache(), 0, 0
    total = sum(size for _, size in files)
    for path, size in files:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            for offset, length in _samples(size, total):
                pages = cache.cached_pages(descriptor, offset, length)
                if pages is None:
                    return 0.0
                cached += pages
                asked += -(-length // mmap.PAGESIZE)
        finally:
            os.close(descriptor)
    return cached / asked if asked else 0.0


def _samples(size: int, total: int) -> Iterator[tuple[int, int]]:
    """Places of a file, evenly spread: the larger its share of the whole, the more."""
    count = max(1, round(_SAMPLES * size / max(total, 1)))
    if size <= count * _SAMPLE_BYTES:
        yield 0, size
        return
    for number in range(count):
        offset = (size - _SAMPLE_BYTES) * number // max(1, count - 1)
        yield offset - offset % mmap.PAGESIZE, _SAMPLE_BYTES
