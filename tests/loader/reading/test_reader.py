"""The parallel reader and the page cache that it asks."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from modelhub.errors import ModelhubError
from modelhub.loader.background import Cancel, Cancelled
from modelhub.loader.files.inspection import Files, WeightFile, read_weight_files
from modelhub.loader.reading import reader as room
from modelhub.loader.reading.pagecache import PageCache
from modelhub.loader.reading.populate import Window
from modelhub.loader.reading.reader import Reader
from tests.support import models
from tests.support.resident import drop, resident_bytes


@pytest.fixture
def weights(tmp_path: Path) -> tuple[Files, tuple[WeightFile, ...]]:
    """Files of 3 shards."""
    folder = models.make_llama(tmp_path / "m", shards=3)
    files = Files("m", folder)
    return files, read_weight_files(files, tuple(sorted(path.name for path in folder.glob("*.safetensors"))))


def _drop(weights: tuple[WeightFile, ...]) -> None:
    for weight in weights:
        drop(weight.path)


def _resident(weights: tuple[WeightFile, ...]) -> int:
    return sum(resident_bytes(weight.path) for weight in weights)


def _read(files: Files, weights: tuple[WeightFile, ...], limit: int | None = None) -> Reader:
    """A reader that has read all it may."""
    reader = Reader(files, weights, limit)
    reader.start()
    reader.wait(Cancel())
    return reader


def test_a_cold_file_is_read_and_a_warm_one_only_counted(
    weights: tuple[Files, tuple[WeightFile, ...]],
) -> None:
    if not PageCache().available:
        pytest.skip("this kernel has no cachestat")
    files, found = weights
    _drop(found)
    cold = _read(files, found)
    warm = _read(files, found)
    assert cold.size == warm.size == sum(weight.path.stat().st_size for weight in found)
    assert (cold.done, cold.read) == (cold.size, cold.size)
    assert (warm.done, warm.read) == (warm.size, 0)


def test_without_cachestat_everything_is_read(
    weights: tuple[Files, tuple[WeightFile, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "some-other")
    files, found = weights
    reader = _read(files, found)
    assert (reader.done, reader.read) == (reader.size, reader.size)


def test_small_pieces_add_up(
    weights: tuple[Files, tuple[WeightFile, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "PIECE_BYTES", 4096)
    files, found = weights
    _drop(found)
    reader = _read(files, found)
    assert reader.done == reader.size


def test_what_cannot_be_brought_through_a_mapping_is_read(
    weights: tuple[Files, tuple[WeightFile, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("mmap.MADV_HUGEPAGE")
    files, found = weights
    _drop(found)
    reader = _read(files, found)
    assert (reader.done, reader.read) == (reader.size, reader.size)
    assert _resident(found) >= reader.size


def test_no_more_is_read_than_memory_holds(
    weights: tuple[Files, tuple[WeightFile, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "PIECE_BYTES", 4096)
    files, found = weights
    _drop(found)
    limit = found[0].size + 4096
    reader = _read(files, found, limit)
    assert reader.done == limit < reader.size
    assert _resident(found[2:]) == 0


def test_a_window_brings_bytes_and_says_where_it_cannot(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(range(256)) * 4096)
    size = path.stat().st_size
    drop(path)
    with path.open("rb") as file:
        with Window(file.fileno(), size) as window:
            assert window.bring(0, size // 2)
            assert PageCache().is_cached(file.fileno(), 0, size // 2)
            os.truncate(path, 4096)
            assert not window.bring(size // 2, size // 2), "past the end of the file"
        assert not window.bring(0, 4096), "closed"
        with Window(file.fileno(), size) as longer_than_the_file:
            assert not longer_than_the_file.bring(0, 4096)


def test_a_file_that_shrinks_is_damaged(weights: tuple[Files, tuple[WeightFile, ...]]) -> None:
    files, found = weights
    os.truncate(found[1].path, 100)
    reader = Reader(files, found)
    reader.start()
    with pytest.raises(ModelhubError) as caught:
        reader.wait(Cancel())
    assert (caught.value.code, found[1].name in caught.value.message) == ("corrupt", True)
    assert reader.done < reader.size


def test_a_file_that_goes_away(weights: tuple[Files, tuple[WeightFile, ...]]) -> None:
    files, found = weights
    found[0].path.unlink()
    reader = Reader(files, found)
    reader.start()
    with pytest.raises(FileNotFoundError):
        reader.wait(Cancel())


def test_a_cancel_ends_the_wait(tmp_path: Path) -> None:
    folder = models.make_sparse_llama(tmp_path / "m", 8 * 10**6)
    files = Files("m", folder)
    reader = Reader(files, read_weight_files(files, ("model.safetensors",)))
    cancel = Cancel()
    reader.start()
    threading.Timer(0.02, cancel.set).start()
    with pytest.raises(Cancelled):
        reader.wait(cancel)
    reader.stop()
    assert reader.done < reader.size


def test_stop_before_start_is_quiet(weights: tuple[Files, tuple[WeightFile, ...]]) -> None:
    Reader(*weights).stop()


def test_the_page_cache_tells_pages(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(3 * 4096 + 1))
    cache = PageCache()
    with path.open("rb") as file:
        if cache.cached_pages(file.fileno(), 0, 1) is None:
            pytest.skip("this kernel has no cachestat")
        assert cache.cached_pages(file.fileno(), 0, 3 * 4096 + 1) == 4
        assert cache.is_cached(file.fileno(), 4096, 4096)
        drop(path)
        assert not cache.is_cached(file.fileno(), 4096, 4096)
