"""How long a load will take, in words."""

from __future__ import annotations

from typing import Any

import pytest

from modelhub.core.outlook import Outlook
from modelhub.outlook_wording import expected, preview, takes
from tests.support.expecting import conditions

GB = 1_000_000_000


def forecast(seconds: float, spread: float = 1.4, basis: str = "machine") -> dict[str, Any]:
    low, high = seconds / spread**0.5, seconds * spread**0.5
    return {"seconds": seconds, "low": low, "high": high, "steps": [seconds / 9] * 9, "basis": basis}


@pytest.mark.parametrize(
    ("known", "outlook", "said"),
    [
        (conditions(2 * GB), forecast(12.3), "loads in about 12 s: 2.0 GB from disk"),
        (conditions(2 * GB), forecast(13.0, 2.5), "loads in 7 to 20 s: 2.0 GB from disk"),
        (
            conditions(2 * GB, cached_bytes=2 * GB),
            forecast(0.2),
            "loads in about 0.2 s: 2.0 GB from memory's file cache",
        ),
        (
            conditions(GB, source="hub", fetch_bytes=515_000_000),
            forecast(40),
            "loads in about 40 s: 515 MB from the hub",
        ),
        (
            conditions(GB, source="demo", fetch_bytes=GB),
            forecast(5),
            "loads in about 5.0 s: 1.0 GB of random weights to make",
        ),
        (
            conditions(GB),
            forecast(5, 6, "none"),
            "time not known yet: the first load on this machine",
        ),
        (conditions(GB), forecast(5, 6), "time not known yet: no load here was like it"),
        (
            conditions(),
            forecast(5, 6),
            "time not known yet: the hub has not said yet how large it is",
        ),
    ],
)
def test_it_says_how_long_and_why(known: Any, outlook: Any, said: str) -> None:
    assert expected(Outlook(known, outlook, None)) == said
    assert takes(outlook, None) == said.split(":")[0]


def test_the_last_load_is_what_counts_where_it_was_alike() -> None:
    assert expected(Outlook(conditions(GB), forecast(5, 6), 3.1)) == "loaded in 3.1 s last time"


def test_a_preview_in_words() -> None:
    forecast = {"seconds": 40.0, "low": 36.0, "high": 44.0, "steps": [4.4] * 9, "basis": "machine"}
    plan = {
        "source": "hub",
        "files": 12,
        "size_bytes": 2_200_000_000,
        "need_bytes": 2_200_000_000,
        "free_bytes": 10**10,
        "fits": True,
    }
    plan |= {"forecast": forecast, "last_seconds": None}
    left = {"fetch_files": 2, "fetch_bytes": 1_200_000_000}
    said = "Hugging Face hub: 1.2 GB in 2 files to fetch; needs 2.2 GB, fits"
    assert preview(plan | left) == f"{said}; loads in about 40 s."
    assert preview(plan | left | {"last_seconds": 3.1}) == f"{said}; loaded in 3.1 s last time."
    guess = {"forecast": {**forecast, "high": 400.0}}
    assert preview(plan | left | guess) == f"{said}; time not known yet."
    none = {"source": "cache", "fetch_files": 0, "fetch_bytes": 0, "free_bytes": 10**9, "fits": False}
    text = "Hugging Face cache: 12 files, nothing to fetch; needs 2.2 GB, 1.0 GB free: does not fit."
    assert preview(plan | none) == text
