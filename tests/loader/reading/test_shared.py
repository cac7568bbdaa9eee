"""A reading that another process does: its ledger is taken, and what it leaves is read here."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from modelhub.loader.background import Cancel
from modelhub.loader.files.opening import Files, WeightFile
from modelhub.loader.files.weight_files import read_weight_files
from modelhub.loader.reading import shared
from modelhub.loader.reading.readahead import ReadAhead
from modelhub.loader.reading.reader import Reader
from tests.support import models

Weights = tuple[WeightFile, ...]
Link = tuple[socket.socket, socket.socket]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A model in three shards or more."""
    return Files("m", models.make_llama(tmp_path / "m", shards=3))


@pytest.fixture
def weights(files: Files) -> Weights:
    names = sorted(path.name for path in files.folder.glob("*.safetensors"))
    return read_weight_files(files, tuple(names))


@pytest.fixture
def link() -> Iterator[Link]:
    """(the end of the process that reads, that of the one that loads)."""
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


def offered(files: Files, weights: Weights, link: Link) -> Reader:
    """A reader that has offered its ledger and has read nothing."""
    reader = Reader(files, weights)
    shared.offer(reader, link[0])
    return reader


def test_what_the_other_one_reads_is_seen_here(files: Files, weights: Weights, link: Link) -> None:
    reader = offered(files, weights, link)
    reading = shared.accept(files, weights, link[1])
    assert reading is not None
    assert (reading.done, reading.size) == (0, sum(weight.size for weight in weights))
    reader.start()
    reading.wait(Cancel())
    assert (reading.done, reading.read) == (reader.done, reader.read) == (reading.size, reader.read)
    assert reading.current in [weight.name for weight in weights]
    reader.stop()
    reading.check()
    reading.stop()
    assert reading.done == reading.size


def test_a_reader_that_ends_early_leaves_the_rest_to_us(files: Files, weights: Weights, link: Link) -> None:
    reader = offered(files, weights, link)
    reader.ledger.mark(0, cached=True)
    reader.stop()
    reading = shared.accept(files, weights, link[1])
    assert reading is not None
    link[0].close()
    reading.wait(Cancel())
    assert reading.done == reading.size
    reading.stop()


def test_only_one_of_the_threads_that_wait_takes_over(
    files: Files, weights: Weights, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Assembly and the first run wait at the same time; a second reader would be stopped by nobody."""
    offered(files, weights, link).stop()
    reading = shared.accept(files, weights, link[1])
    assert reading is not None
    made: list[Reader] = []
    waiting = threading.Barrier(4)
    complete = shared.SharedReading.is_complete

    def slowly(self: shared.SharedReading) -> bool:
        threading.Event().wait(0.05)
        return complete(self)

    class Counted(Reader):
        def start(self) -> None:
            made.append(self)
            super().start()

    monkeypatch.setattr(shared.SharedReading, "is_complete", slowly)
    monkeypatch.setattr(shared, "Reader", Counted)
    link[0].close()

    def wait() -> None:
        waiting.wait()
        reading.wait(Cancel())

    threads = [threading.Thread(target=wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reading.stop()
    assert len(made) == 1
    assert not made[0].is_running


def test_a_complete_reading_whose_reader_has_ended_reads_nothing(
    files: Files, weights: Weights, link: Link
) -> None:
    reader = offered(files, weights, link)
    reading = shared.accept(files, weights, link[1])
    assert reading is not None
    reader.start()
    reader.join()
    reader.stop()
    link[0].close()
    reading.check()
    assert [thread.name for thread in threading.enumerate() if "modelhub-read" in thread.name] == []
    reading.stop()


def test_the_reader_learns_that_it_is_not_needed_any_more(files: Files, weights: Weights, link: Link) -> None:
    reader = offered(files, weights, link)
    reading = shared.accept(files, weights, link[1])
    assert reading is not None
    reading.stop()
    link[0].settimeout(10)
    assert link[0].recv(1) == b""
    reader.stop()


def test_other_files_than_offered_are_refused(files: Files, weights: Weights, link: Link) -> None:
    reader = offered(files, weights, link)
    grown = (replace(weights[0], size=weights[0].size + 1), *weights[1:])
    before = len(os.listdir("/proc/self/fd"))
    assert shared.accept(files, grown, link[1]) is None
    assert link[1].fileno() == -1, "so the reader stops"
    assert len(os.listdir("/proc/self/fd")) == before - 1, "the ledger is closed too"
    reader.stop()


@pytest.mark.parametrize(
    "data", [b"", b"\x05", b"\x05\0\0\0[]", b"\x02\0\0\0[]", b"\x02\0\0\0{]", b"\xff" * 10]
)
def test_nonsense_is_refused(files: Files, weights: Weights, link: Link, data: bytes) -> None:
    link[0].sendall(data)
    link[0].close()
    assert shared.accept(files, weights, link[1]) is None


def test_a_reader_that_says_nothing_is_not_waited_for(files: Files, link: Link) -> None:
    """Its files are read here after a second."""
    with closing(ReadAhead(link[1])) as ahead:
        ahead.start(files)
        reading = ahead.reading(files, ahead.weights)
        reading.wait(Cancel())
        assert isinstance(reading, Reader)
        assert reading.done == reading.size


def test_a_ledger_that_is_too_small_is_refused(files: Files, weights: Weights, link: Link) -> None:
    reader = offered(files, weights, link)
    os.truncate(reader.ledger.descriptor, 1)
    assert shared.accept(files, weights, link[1]) is None
    os.truncate(reader.ledger.descriptor, 100)
    reader.stop()
