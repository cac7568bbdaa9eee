"""The table of the pieces that are in memory, which two processes share."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from modelhub.loader.reading.ledger import Ledger
from modelhub.loader.reading.pieces import Piece
from tests.support.server import ROOT

PIECES = [Piece(0, 0, 100), Piece(0, 100, 20), Piece(1, 0, 3)]


def test_counts_tell_what_was_read_from_what_was_there() -> None:
    ledger = Ledger(PIECES)
    assert (ledger.counts(), ledger.current()) == ((0, 0), None)
    ledger.mark(1, cached=False)
    ledger.mark(0, cached=True)
    assert ledger.counts() == (120, 20)
    assert [ledger.has(number) for number in range(3)] == [True, True, False]
    assert ledger.current() == PIECES[0]
    ledger.close()


def test_what_one_process_notes_the_other_sees() -> None:
    code = (
        "import sys; from modelhub.loader.reading.ledger import Ledger;"
        "from modelhub.loader.reading.pieces import Piece;"
        f"pieces = [Piece(*values) for values in {[tuple(piece) for piece in PIECES]}];"
        "ledger = Ledger(pieces, int(sys.argv[1]));"
        "assert ledger.has(1);"
        "ledger.mark(2, False); ledger.close()"
    )
    ledger = Ledger(PIECES)
    ledger.mark(1, cached=True)
    command = [sys.executable, "-c", code, str(ledger.descriptor)]
    subprocess.run(command, cwd=ROOT, pass_fds=[ledger.descriptor], timeout=60, check=True)
    assert ledger.counts() == (23, 3)
    assert ledger.has(2)
    assert ledger.current() == PIECES[2]
    ledger.close()


def test_it_has_its_counts_after_it_was_closed() -> None:
    ledger = Ledger(PIECES)
    ledger.mark(0, cached=False)
    descriptor = ledger.descriptor
    ledger.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    ledger.close()
    assert (ledger.counts(), ledger.current()) == ((100, 100), PIECES[0])
    assert [ledger.has(number) for number in range(3)] == [True, False, False]


def test_a_descriptor_of_too_little_memory_is_refused_and_closed() -> None:
    small = Ledger([])
    descriptor = os.dup(small.descriptor)
    with pytest.raises(ValueError, match="mmap"):
        Ledger(PIECES, descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    small.close()


def test_without_pieces_nothing_is_counted() -> None:
    ledger = Ledger([])
    assert (ledger.counts(), ledger.current()) == ((0, 0), None)
    ledger.close()
