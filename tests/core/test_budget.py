"""Memory use by owner, from what modelhub.memory measures."""

from __future__ import annotations

import pytest

from modelhub import memory, wording
from modelhub.core.budget import MemoryUse, compute_budget

GB = 10**9


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "total_bytes", lambda: 16 * GB)
    monkeypatch.setattr(memory, "free_bytes", lambda: 10 * GB)


def test_the_parts_add_up_and_free_is_what_admission_checks() -> None:
    budget = compute_budget(
        [MemoryUse("ready", 3 * GB, 2 * GB), MemoryUse("loading", None, 4 * GB), MemoryUse("failed", None, 0)]
    )
    assert budget.free == 4 * GB
    assert (budget.models, budget.loading) == (3 * GB, 4 * GB)
    assert budget.models + budget.loading + budget.other + budget.free == budget.total
    assert (budget.model_count, budget.load_count) == (1, 1)


def test_a_load_with_no_known_need_counts_nothing() -> None:
    budget = compute_budget([MemoryUse("loading", None, 0)])
    assert (budget.loading, budget.load_count, budget.free) == (0, 1, 10 * GB)


def test_never_less_than_nothing() -> None:
    budget = compute_budget([MemoryUse("loading", None, 99 * GB), MemoryUse("ready", 99 * GB, 99 * GB)])
    assert min(budget) >= 0
    assert budget.models + budget.loading + budget.other + budget.free == budget.total


def test_what_fits() -> None:
    budget = compute_budget([])
    assert (budget.fits(10 * GB), budget.fits(10 * GB + 1), budget.fits(None)) == (True, False, None)


def test_in_words() -> None:
    budget = compute_budget([MemoryUse("ready", 3 * GB, 2 * GB), MemoryUse("loading", None, 4 * GB)])
    texts = [words for _, _, words in wording.memory_parts(budget)]
    assert texts[0] == "3.0 GB in 1 model"
    assert texts[1] == "4.0 GB for 1 load"
    assert texts[-1] == "4.0 GB free"
    assert sum(share for _, share, _ in wording.memory_parts(budget)) == pytest.approx(1)
    assert wording.need(2 * GB, budget.free) == "needs 2.0 GB, fits"
    assert wording.need(8 * GB, budget.free) == "needs 8.0 GB, 4.0 GB free: does not fit"
    assert wording.need(None, budget.free) == ""
