"""The truth rules, checked over the events of one load."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

TERMINAL = ("model_load_completed", "model_load_failed", "model_load_cancelled")


def must_arrive(sent: list[list[Any]]) -> set[int]:
    """The events that may never be left out: all but progress, and the first and last of each step."""
    kept = {seq for seq, name, _, _ in sent if name != "model_load_progress"}
    ends: dict[tuple[str, int], list[int]] = {}
    for seq, name, load_id, step in sent:
        if name == "model_load_progress":
            ends.setdefault((load_id, step), []).append(seq)
    return kept.union(*({seqs[0], seqs[-1]} for seqs in ends.values()))


def kept(events: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
    """The events of one model that reach every client, however slowly it reads."""
    seqs = must_arrive([[p["seq"], name, p["load_id"], p["step"]] for name, p in events])
    return [event for event in events if event[1]["seq"] in seqs]


def check_truth(events: list[tuple[str, dict[str, Any]]], with_gaps: bool = False) -> None:
    """The truth rules, over the events of one load from its start to its end.

    ``with_gaps`` is for a client of the fan-out: where it reads slowly, newer progress replaces older.
    """
    names = [name for name, _ in events]
    payloads = [payload for _, payload in events]
    assert names.count("model_load_started") == 1
    assert [name for name in names if name in TERMINAL] == names[-1:], (
        "exactly one terminal event, and it is the last"
    )
    assert len({payload["load_id"] for payload in payloads}) == 1
    for (_, before), (name, payload) in pairwise(events):
        distance = payload["seq"] - before["seq"]
        is_newer_progress = name == "model_load_progress" and payload["step"] == before["step"]
        assert distance == 1 or (with_gaps and distance > 1 and is_newer_progress), "numbered without a gap"
    running = [p for name, p in events if name in ("model_load_started", "model_load_progress")]
    progress = [payload["progress"] for payload in running]
    assert progress == sorted(progress), "progress never goes back"
    assert all(0 <= value < 1 for value in progress), "1.0 only when completed"
    steps = [payload["step"] for payload in running]
    assert steps == sorted(steps)
    for payload in running:
        assert payload["total"] == 9
        assert payload["message"]
        assert payload["phase"]
        if payload["done"] is not None and payload["size"] is not None:
            assert 0 <= payload["done"] <= payload["size"]
    if names[-1] == "model_load_completed":
        assert payloads[-1]["progress"] == 1.0
        assert list(dict.fromkeys(steps)) == list(range(1, 10)), "all nine steps, in order"
