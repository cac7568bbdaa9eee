"""The truth rules, checked over the events of one load."""

from __future__ import annotations

from typing import Any

TERMINAL = ("model_load_completed", "model_load_failed", "model_load_cancelled")


def check_truth(events: list[tuple[str, dict[str, Any]]]) -> None:
    """The truth rules, over the events of one load from its start to its end."""
    names = [name for name, _ in events]
    payloads = [payload for _, payload in events]
    assert names.count("model_load_started") == 1
    assert [name for name in names if name in TERMINAL] == names[-1:], (
        "exactly one terminal event, and it is the last"
    )
    assert len({payload["load_id"] for payload in payloads}) == 1
    seqs = [payload["seq"] for payload in payloads]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs))), "numbered without a gap"
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
