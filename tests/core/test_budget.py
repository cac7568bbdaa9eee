"""Whose the memory is, by the figures of modelhub.memory."""

from __future__ import annotations

import pytest

from modelhub import memory, wording
from modelhub.core.budget import Holding, draw_up

GB = 10**9


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "total_bytes", lambda: 16 * GB)
    monkeypatch.setattr(memory, "free_bytes", lambda: 10 * GB)


def test_the_parts_add_up_and_free_is_what_admission_goes_by() -> None:
    ledger = draw_up(
        [Holding("ready", 3 * GB, 2 * GB), Holding("loading", None, 4 * GB), Holding("failed", None, 0)]
    )
    assert ledger.free == 4 * GB
    assert (ledger.models, ledger.loading) == (3 * GB, 4 * GB)
    assert ledger.models + ledger.loading + ledger.other + ledger.free == ledger.total
    assert (ledger.model_count, ledger.load_count) == (1, 1)


def test_a_load_that_has_not_said_its_need_counts_nothing() -> None:
    ledger = draw_up([Holding("loading", None, 0)])
    assert (ledger.loading, ledger.load_count, ledger.free) == (0, 1, 10 * GB)


def test_never_less_than_nothing() -> None:
    ledger = draw_up([Holding("loading", None, 99 * GB), Holding("ready", 99 * GB, 99 * GB)])
    assert min(ledger) >= 0
    assert ledger.models + ledger.loading + ledger.other + ledger.free == ledger.total


def test_what_fits() -> None:
    ledger = draw_up([])
    assert (ledger.fits(10 * GB), ledger.fits(10 * GB + 1), ledger.fits(None)) == (True, False, None)


def test_in_words() -> None:
    ledger = draw_up([Holding("ready", 3 * GB, 2 * GB), Holding("loading", None, 4 * GB)])
    said = [words for _, _, words in wording.memory(ledger)]
    assert said[0] == "3.0 GB in 1 model"
    assert said[1] == "4.0 GB for 1 load under way"
    assert said[-1] == "4.0 GB free"
    assert sum(share for _, share, _ in wording.memory(ledger)) == pytest.approx(1)
    assert wording.need(2 * GB, ledger.free) == "needs 2.0 GB, fits"
    assert wording.need(8 * GB, ledger.free) == "needs 8.0 GB, 4.0 GB free: does not fit"
    assert wording.need(None, ledger.free) == ""
