"""What the pages of loads say."""

from __future__ import annotations

from typing import Any

import pytest

from modelhub.core.statistics import Result, compute_statistics
from modelhub.states import STATES_OF_OUTCOME
from modelhub.web.pages import load_wording
from modelhub.web.pages.load_wording import NO_BREAK

NOTHING: dict[str, Any] = dict.fromkeys(
    (
        "started_at",
        "ended_at",
        "ended_by",
        "seconds",
        "bytes",
        "memory",
        "device",
        "dtype",
        "source",
        "revision",
    )
)
NOTHING |= dict.fromkeys(("architecture", "parameters", "error", "steps", "snapshot", "forecast"))
NOTHING |= dict.fromkeys(("node", "placement"))


def load(state: str, **changes: Any) -> dict[str, Any]:
    known = {"load_id": "abc", "model_id": "org/a", "state": state, "by": "page", "requested_at": 0.0}
    return {**NOTHING, **known, **changes}


def test_every_outcome_has_a_name() -> None:
    assert list(load_wording.OUTCOME_NAMES) == list(STATES_OF_OUTCOME)
    for states in STATES_OF_OUTCOME.values():
        for state in states:
            assert load_wording.outcome(load(state))


@pytest.mark.parametrize(
    ("one", "step", "said"),
    [
        (load("ready", seconds=3.2), 9, "Ready in 3.2 s. The model is in memory."),
        (load("ready", seconds=3.2, node="b"), 9, "Ready in 3.2 s on node b. The model is in memory."),
        (load("failed", seconds=12.4, node="b"), 4, "Failed on node b after 12 s, in step 4 of 9."),
        (load("unloaded", seconds=3.2), 9, "Ready in 3.2 s. The model has been unloaded since."),
        (
            load("unloaded", seconds=3.2, ended_by="room for org/b"),
            9,
            "Ready in 3.2 s. The model was unloaded to make room for org/b.",
        ),
        (load("failed", seconds=12.4), 4, "Failed after 12 s, in step 4 of 9."),
        (load("failed"), None, "Failed."),
        (
            load("cancelled", seconds=2.0, ended_by="cli", started_at=1.0),
            5,
            "Cancelled from the command line after 2.0 s, in step 5 of 9.",
        ),
        (load("cancelled", ended_by="rest"), None, "Cancelled over the API while waiting in the queue."),
        (load("cancelled", seconds=2.0, started_at=1.0), 5, "Cancelled after 2.0 s, in step 5 of 9."),
        (load("interrupted", seconds=2.0), 3, "Interrupted after 2.0 s, in step 3 of 9."),
        (load("interrupted"), None, "Interrupted."),
        (load("queued"), None, "Waiting in the queue."),
        (load("loading"), 5, "Loading, in step 5 of 9."),
    ],
)
def test_the_end_in_a_sentence(one: dict[str, Any], step: int | None, said: str) -> None:
    assert load_wording.ending(one, step) == said


def test_figures_are_those_that_are_known() -> None:
    assert load_wording.totals(load("failed", seconds=2.0)) == [("Took", "2.0 s")]
    assert load_wording.totals(load("queued")) == []
    assert load_wording.totals(load("loading", snapshot={"elapsed": 1.5})) == [("So far", "1.5 s")]
    forecast = {"seconds": 3.0, "low": 2.4, "high": 4.1}
    assert dict(load_wording.totals(load("queued", forecast=forecast))) == {
        "Expected": f"3.0 s (2.4 to 4.1{NO_BREAK}s)"
    }
    short = {"seconds": 0.11, "low": 0.08, "high": 0.3}
    assert load_wording.totals(load("queued", forecast=short)) == [
        ("Expected", f"110 ms (80 to 300{NO_BREAK}ms)")
    ]
    high = NO_BREAK.join(("1", "min", "30", "s"))
    long = {"seconds": 70.0, "low": 50.0, "high": 90.0}
    assert load_wording.totals(load("queued", forecast=long)) == [
        ("Expected", f"1 min 10 s (50 s to {high})")
    ]
    whole = load("ready", seconds=2.0, bytes=1_000_000_000, memory=1_100_000_000)
    assert dict(load_wording.totals(whole)) == {
        "Took": "2.0 s",
        "Weights": "1.0 GB",
        "Mean rate": "500 MB/s",
        "Memory used": "1.1 GB",
    }


def test_facts_leave_out_what_is_not_known() -> None:
    assert load_wording.facts(load("queued")) == [
        (
            "Requested",
            '<time datetime="1970-01-01T00:00:00Z">1970-01-01 00:00:00 UTC</time>, from a page',
        ),
        ("Load id", "abc"),
    ]
    known = dict(load_wording.facts(load("ready", started_at=12.0, source="hub", parameters=50_700_000)))
    assert known["Waited in the queue"] == "12 s"
    assert known["Source"] == "Hugging Face hub"
    assert known["Parameters"] == "50.7 million"
    assert "Waited in the queue" not in dict(load_wording.facts(load("ready", started_at=0.004)))


def test_bytes_counted_at_once_have_no_rate() -> None:
    said = load_wording.counted({"step": 7, "at": [8.93, 8.94], "bytes": [256_000_000, 256_000_000]})
    assert said == "Step 7, Moving model to device: 256 MB, counted at once at 8.93 s."


def test_a_row_of_a_model_in_words() -> None:
    results = [Result("org/a", "ready", 2.0, 400_000_000, 2.5)] * 2 + [Result("org/a", "failed", 1.0, None)]
    assert load_wording.model_row(compute_statistics(results)[0]) == {
        "loads": "3",
        "success": "67%",
        "of": "2 of 3",
        "median": "2.0 s",
        "p90": "2.0 s",
        "rate": "200 MB/s",
        "off": "25%",
    }
    nothing = load_wording.model_row(compute_statistics([Result("org/a", "queued", None, None)])[0])
    assert (nothing["success"], nothing["of"], nothing["median"], nothing["off"]) == ("–", "", "–", "–")
    exact = compute_statistics([Result("org/a", "ready", 2.0, None, 2.001)])
    assert load_wording.model_row(exact[0])["off"] == "< 1%"
