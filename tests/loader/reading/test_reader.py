"""The parallel reader, and the queries of the page cache."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from modelhub.errors import ModelhubError
from modelhub.loader.background import Cancel, Cancelled
from modelhub.loader.files.opening import Files, WeightFile
from modelhub.loader.files.weight_files import read_weight_files
from modelhub.loader.reading import reading as reading_module
from modelhub.loader.reading.populate import Window
from modelhub.loader.reading.reader import Reader
from modelhub.memory import data_bytes
from modelhub.page_cache import PageCache
from tests.support import models
from tests.support.resident import drop, resident_bytes


@pytest.fixture
def weights(tmp_path: Path) -> tuple[Files, tuple[WeightFile, ...]]:
    """A model in three shards or more."""
    folder = models.make_llama(tmp_path / "m", shards=3)
    files = Files("m", folder)
    return files, read_weight_files(files, tuple(sorted(path.name for path in folder.glob("*.safetensors"))))


def drop_all(weights: tuple[WeightFile, ...]) -> None:
    for weight in weights:
        drop(weight.path)


def _resident(weights: tuple[WeightFile, ...]) -> int:
    return sum(resident_bytes(weight.path) for weight in weights)


def _read(files: Files, weights: tuple[WeightFile, ...], limit: int | None = None) -> Reader:
    """A reader that has finished."""
    reader = Reader(files, weights, limit)
    reader.start()
    reader.wait(Cancel())
    reader.join()
    return reader


def test_a_cold_file_is_read_and_a_warm_one_only_counted(
    weights: tuple[Files, tuple[WeightFile, ...]],
) -> None:
    files, found = weights
    drop_all(found)
    cold = _read(files, found)
    warm = _read(files, found)
    assert cold.size == warm.size == sum(weight.path.stat().st_size for weight in found)
    assert (cold.done, cold.read) == (cold.size, cold.size)
    assert (warm.done, warm.read) == (warm.size, 0)


def test_where_the_kernel_cannot_say_what_is_cached_everything_is_read(
    weights: tuple[Files, tuple[WeightFile, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    files, found = weights
    reader = _read(files, found)
    assert (reader.done, reader.read) == (reader.size, reader.size)


def test_small_pieces_add_up(
    weights: tuple[Files, tuple[WeightFile, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_module, "PIECE_BYTES", 4096)
    files, found = weights
    drop_all(found)
    reader = _read(files, found)
    assert reader.done == reader.size


def test_without_huge_pages_the_files_are_read_into_a_buffer(
    weights: tuple[Files, tuple[WeightFile, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("mmap.MADV_HUGEPAGE")
    files, found = weights
    drop_all(found)
    reader = _read(files, found)
    assert (reader.done, reader.read) == (reader.size, reader.size)
    assert _resident(found) >= reader.size


def test_no_more_is_read_than_the_limit(
    weights: tuple[Files, tuple[WeightFile, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_module, "PIECE_BYTES", 4096)
    files, found = weights
    drop_all(found)
    limit = found[0].size + 4096
    reader = _read(files, found, limit)
    assert reader.done == limit < reader.size
    assert _resident(found[2:]) == 0


def test_a_window_populates_the_page_cache_and_returns_false_where_it_cannot(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(range(256)) * 4096)
    size = path.stat().st_size
    drop(path)
    with path.open("rb") as file:
        with Window(file.fileno(), size) as window:
            assert window.populate(0, size // 2)
            assert PageCache().is_cached(file.fileno(), 0, size // 2)
            os.truncate(path, 4096)
            assert not window.populate(size // 2, size // 2), "past the end of the file"
        assert not window.populate(0, 4096), "closed"
        with Window(file.fileno(), size) as longer_than_the_file:
            assert not longer_than_the_file.populate(0, 4096)


def test_a_window_takes_no_memory_that_the_process_may_write_to(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    path.touch()
    os.truncate(path, 2**30)
    before = data_bytes()
    with path.open("rb") as file, Window(file.fileno(), 2**30) as window:
        assert window.populate(0, 4096)
        assert data_bytes() - before < 64 * 2**20


def test_a_file_that_shrinks_is_corrupt(weights: tuple[Files, tuple[WeightFile, ...]]) -> None:
    files, found = weights
    os.truncate(found[1].path, 100)
    reader = Reader(files, found)
    reader.start()
    with pytest.raises(ModelhubError) as caught:
        reader.wait(Cancel())
    assert (caught.value.code, found[1].name in caught.value.message) == ("corrupt", True)
    reader.stop()
    assert reader.done < reader.size


def test_a_file_that_is_deleted(weights: tuple[Files, tuple[WeightFile, ...]]) -> None:
    files, found = weights
    found[0].path.unlink()
    reader = Reader(files, found)
    reader.start()
    with pytest.raises(FileNotFoundError):
        reader.wait(Cancel())
    reader.stop()


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


def test_a_reader_that_was_stopped_before_its_start_reads_nothing(
    weights: tuple[Files, tuple[WeightFile, ...]],
) -> None:
    files, found = weights
    drop_all(found)
    reader = Reader(files, found)
    reader.stop()
    reader.start()
    with pytest.raises(Cancelled):
        reader.wait(Cancel())
    assert (reader.done, reader.read) == (0, 0)
    assert _resident(found) == 0
