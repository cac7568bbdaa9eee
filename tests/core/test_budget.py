"""Memory use by owner, from what modelhub.memory measures."""

from __future__ import annotations

from typing import Any

import pytest

from modelhub import memory, wording
from modelhub.core.budget import MemoryUse, check_fits, compute_budget
from modelhub.errors import ModelhubError

GB = 10**9
MACHINE: Any = memory  # has what the budget asks of a machine


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "total_bytes", lambda: 16 * GB)
    monkeypatch.setattr(memory, "free_bytes", lambda: 10 * GB)


def test_the_parts_add_up_and_free_is_what_admission_checks() -> None:
    budget = compute_budget(
        [
            MemoryUse("ready", 3 * GB, 2 * GB, 2 * GB),
            MemoryUse("loading", None, 4 * GB, 4 * GB),
            MemoryUse("failed", None, 0, 0),
        ],
        MACHINE,
    )
    assert budget.free == 4 * GB
    assert (budget.models, budget.loading) == (3 * GB, 4 * GB)
    assert budget.models + budget.loading + budget.other + budget.free == budget.total
    assert (budget.model_count, budget.load_count) == (1, 1)


def test_what_a_load_has_taken_is_not_subtracted_again() -> None:
    """Of its 4 GB it has taken 3: the 10 GB that the system calls free are without them."""
    budget = compute_budget([MemoryUse("loading", None, 4 * GB, 1 * GB)], MACHINE)
    assert (budget.free, budget.loading, budget.other) == (9 * GB, 4 * GB, 3 * GB)


def test_a_refusal_names_the_load_that_has_reserved_most() -> None:
    check_fits("org/fits", 10 * GB, 10 * GB, [(1 * GB, "org/small")])
    with pytest.raises(
        ModelhubError, match=r"^org/large needs 11.0 GB of memory, 10.0 GB are free\.$"
    ) as caught:
        check_fits("org/large", 11 * GB, 10 * GB, [(1 * GB, "org/small"), (4 * GB, "org/other")])
    assert caught.value.hint.startswith("org/other, which is loading, has reserved 4.0 GB. Unload")


def test_a_load_with_no_known_need_counts_nothing() -> None:
    budget = compute_budget([MemoryUse("loading", None, 0, 0)], MACHINE)
    assert (budget.loading, budget.load_count, budget.free) == (0, 1, 10 * GB)


def test_never_less_than_nothing() -> None:
    uses = [MemoryUse("loading", None, 99 * GB, 99 * GB), MemoryUse("ready", 99 * GB, 99 * GB, 99 * GB)]
    budget = compute_budget(uses, MACHINE)
    assert min(budget) >= 0
    assert budget.models + budget.loading + budget.other + budget.free == budget.total


def test_what_fits() -> None:
    budget = compute_budget([], MACHINE)
    assert (budget.fits(10 * GB), budget.fits(10 * GB + 1), budget.fits(None)) == (True, False, None)


def test_in_words() -> None:
    uses = [MemoryUse("ready", 3 * GB, 2 * GB, 2 * GB), MemoryUse("loading", None, 4 * GB, 4 * GB)]
    budget = compute_budget(uses, MACHINE)
    texts = [words for _, _, words in wording.memory_parts(budget)]
    assert texts[0] == "3.0 GB in 1 model"
    assert texts[1] == "4.0 GB for 1 load"
    assert texts[-1] == "4.0 GB free"
    assert sum(share for _, share, _ in wording.memory_parts(budget)) == pytest.approx(1)
    assert wording.need(2 * GB, budget.free) == "needs 2.0 GB, fits"
    assert wording.need(8 * GB, budget.free) == "needs 8.0 GB, 4.0 GB free: does not fit"
    assert wording.need(None, budget.free) == ""
