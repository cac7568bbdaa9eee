"""Which lines are printed, and how often."""

from __future__ import annotations

from typing import Any

import pytest

from modelhub.checkpoints import checkpoint
from modelhub.cli.lines import Lines
from modelhub.progress.adapter import ProgressAdapter
from tests.support.expecting import expecting
from tests.support.terminal import lines_of


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def adapter(clock: Clock) -> ProgressAdapter:
    """A real adapter whose events go to Lines."""
    lines = Lines(clock)

    def emit(name: str, payload: dict[str, Any], _: list[str]) -> None:
        lines.show(name, payload)

    made = ProgressAdapter(emit, stall_s=8.0, clock=clock)
    made.started("a/b", "load", *expecting(1_000_000_000))
    return made


def test_inside_a_step_a_line_at_most_every_five_seconds(
    adapter: ProgressAdapter, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    for eighth in range(100):
        clock.now = 100 + eighth / 8
        adapter.emit_progress("a/b", *checkpoint(5, eighth * 10_000_000, 1_000_000_000, "bytes"))
    lines = lines_of(capsys.readouterr().out, "a/b")
    assert [line.split(" · ")[0] for line in lines] == ["Step 5 of 9: Loading model weights..."] * 3
    assert lines[1].split(" · ")[1:3] == ["400 MB of 1.0 GB", "80.0 MB/s"]
    assert lines[1].endswith(" s left")


def test_a_stall_and_its_end_are_printed_at_once(
    adapter: ProgressAdapter, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter.emit_progress("a/b", *checkpoint(3, 10, 100, "bytes"))
    for _ in range(9):
        clock.now += 1
        adapter.tick("a/b")
    adapter.emit_progress("a/b", *checkpoint(3, 20, 100, "bytes"))
    clock.now += 0.2
    adapter.tick("a/b")
    lines = lines_of(capsys.readouterr().out, "a/b")
    stalled = [line for line in lines if line.startswith("No progress for ")]
    assert stalled == [lines[-2]]
    assert stalled[0].startswith("No progress for 8.0 s.")
    assert lines[-1].startswith("Step 3 of 9")
