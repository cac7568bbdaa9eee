"""The arithmetic of progress, with times that the test gives."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from modelhub.checkpoints import Checkpoint, checkpoint
from modelhub.progress.tracker import Tracker
from tests.support.expecting import expecting

GB = 1_000_000_000


def test_the_first_and_last_of_each_step_are_emitted_at_any_pace() -> None:
    tracker = Tracker(0.0, *expecting())
    emitted = []
    for number in range(1001):
        emitted += tracker.feed(checkpoint(5, number, 1000, "bytes"), now=number / 10_000)
    emitted += tracker.feed(checkpoint(6), now=0.1001)
    assert [(state["step"], state["done"]) for state in emitted[:1] + emitted[-2:]] == [
        (5, 0),
        (5, 1000),
        (6, None),
    ]


def test_at_most_ten_a_second_are_emitted_between_them_and_a_few_more_at_the_very_start() -> None:
    tracker = Tracker(0.0, *expecting())
    emitted = [
        state
        for n in range(10_000)
        for state in tracker.feed(checkpoint(5, n, 10_000, "bytes"), now=n / 1000)
    ]
    assert 90 <= len(emitted) <= 108
    late = [state["elapsed"] for state in emitted if state["elapsed"] >= 0.7]
    assert all(after - before > 0.099 for before, after in pairwise(late))


def test_the_bar_moves_also_without_news_and_a_stall_is_told_every_second() -> None:
    tracker = Tracker(0.0, *expecting(10 * GB), stall_s=2.0)
    tracker.feed(checkpoint(5), now=0.0)
    emitted = [state for tenth in range(1, 51) for state in tracker.tick(now=tenth / 10)]
    moving = [state for state in emitted if state["stalled_for"] is None]
    assert 7 <= len(moving) <= 12
    assert all(before["progress"] < after["progress"] for before, after in pairwise(moving))
    assert [round(state["elapsed"]) for state in emitted[len(moving) :]] in ([2, 3, 4, 5], [3, 4, 5])


def test_states_and_a_stall_are_emitted_before_the_first_checkpoint_too() -> None:
    tracker = Tracker(0.0, *expecting(), stall_s=2.0)
    emitted = [state for tenth in range(1, 31) for state in tracker.tick(now=tenth / 10)]
    assert [state["stalled_for"] for state in emitted][-3:] == [None, 2.0, 3.0]


def test_progress_never_goes_back_and_never_reaches_one() -> None:
    rng = random.Random(7)
    for _ in range(200):
        tracker, now, seen = Tracker(0.0, *expecting(rng.choice([None, GB, 100]))), 0.0, []
        for step in range(1, 10):
            size = rng.randrange(1, 3 * GB)
            for done in sorted(rng.randrange(size + 1) for _ in range(rng.randrange(5))):
                now += rng.random() * 3
                seen += tracker.feed(checkpoint(step, done, size, "bytes"), now)
            now += rng.random() * 3
            seen += tracker.tick(now)
            seen.append(tracker.state(now) if seen else {"progress": 0.0})
        values = [state["progress"] for state in seen]
        assert values == sorted(values)
        assert values[-1] < 1


def test_a_step_or_count_that_goes_back_is_refused_and_changes_nothing() -> None:
    tracker = Tracker(0.0, *expecting())
    tracker.feed(checkpoint(5, 600, 1000, "bytes"), now=1.0)
    with pytest.raises(ValueError, match="500 bytes after 600"):
        tracker.feed(checkpoint(5, 500, 1000, "bytes"), now=2.0)
    with pytest.raises(ValueError, match="step 4 after step 5"):
        tracker.feed(checkpoint(4), now=2.0)
    assert tracker.state(2.0)["done"] == 600


def test_rate_and_time_left_come_from_the_bytes_once_there_are_some() -> None:
    tracker = Tracker(0.0, *expecting(10 * GB))
    (first,) = tracker.feed(checkpoint(5, 0, 10 * GB, "bytes"), now=0.0)
    assert first["rate"] is None
    assert first["eta"] is None
    for tenth in range(1, 31):
        emitted = tracker.feed(checkpoint(5, tenth * GB // 10, 10 * GB, "bytes"), now=tenth / 10)
    assert emitted[-1]["rate"] == pytest.approx(GB, rel=0.01)
    # Seven seconds of bytes, and the steps after them.
    assert 7 <= emitted[-1]["eta"] <= 12


def test_no_time_left_before_it_can_be_estimated() -> None:
    tracker = Tracker(0.0, *expecting())
    for step in (1, 2, 3, 4):
        assert tracker.feed(checkpoint(step), now=step / 2)[-1]["eta"] is None


def test_a_stall_is_shown_and_ends_with_the_next_byte() -> None:
    tracker = Tracker(0.0, *expecting(), stall_s=10.0)
    tracker.feed(checkpoint(5, 10, 100, "bytes"), now=0.0)
    assert tracker.tick(now=9.0)[-1]["stalled_for"] is None
    stalled = tracker.tick(now=12.0)[-1]
    assert stalled["stalled_for"] == 12.0
    assert stalled["eta"] is None
    assert tracker.feed(checkpoint(5, 11, 100, "bytes"), now=13.0)[-1]["stalled_for"] is None


def test_a_load_that_hangs_before_its_first_checkpoint_stalls_too() -> None:
    tracker = Tracker(0.0, *expecting(), stall_s=10.0)
    assert tracker.tick(now=0.01) == []
    assert tracker.tick(now=1.0)[-1]["stalled_for"] is None
    assert tracker.tick(now=11.0)[-1]["stalled_for"] == 11.0


def test_a_repeated_count_is_no_progress() -> None:
    tracker = Tracker(0.0, *expecting(), stall_s=10.0)
    for second in range(12):
        emitted = tracker.feed(checkpoint(5, 10, 100, "bytes"), now=float(second))
    assert emitted[-1]["stalled_for"] == 11.0


def test_steps_have_their_durations() -> None:
    tracker = Tracker(0.0, *expecting())
    for step, now in enumerate((0.0, 0.5, 0.75), start=1):
        emitted = tracker.feed(checkpoint(step), now)
    assert emitted[-1]["steps"] == [0.5, 0.25] + [None] * 7
    tracker.finish(now=1.0)
    assert tracker.state(1.0)["steps"][2] == 0.25


def test_the_message_of_a_checkpoint_is_kept() -> None:
    assert Tracker(0.0, *expecting()).feed(Checkpoint(1, "Hello"), now=0.0)[0]["message"] == "Hello"


def test_the_bar_always_ends_inside_the_running_step() -> None:
    rng = random.Random(11)
    for _ in range(200):
        now = 0.0
        tracker = Tracker(now, *expecting(rng.choice([None, 10**6, 10**9, 10**11])))
        for step in range(1, 10):
            size = rng.randrange(1, 10**10) if step in (3, 5, 7) else None
            for part in range(4):
                now += rng.expovariate(1)
                done = None if size is None else size * part // 3
                tracker.feed(checkpoint(step, done, size, "bytes" if size else None), now)
                state = tracker.state(now)
                shares = state["shares"]
                assert len(shares) == 9
                assert min(shares) >= 0
                assert sum(shares) == pytest.approx(1, abs=0.001)
                begin, end = sum(shares[: step - 1]), sum(shares[:step])
                assert begin - 0.001 <= state["progress"] <= end + 0.001


@pytest.mark.parametrize("bytes_per_s", [2_000_000, 25_000_000])
def test_the_bar_of_a_first_load_follows_its_bytes_from_the_first_one(bytes_per_s: int) -> None:
    size = 500_000_000
    tracker, now = Tracker(0.0, *expecting()), 0.0
    for step in (1, 2, 3):
        tracker.feed(checkpoint(step), now)
        now += 0.5
    seen: list[tuple[float, float]] = []
    for part in range(201):
        now += size / 200 / bytes_per_s
        tracker.feed(checkpoint(3, size * part // 200, size, "bytes"), now)
        seen.append((now, tracker.state(now)["progress"] or 0.0))
    for at, progress in seen:
        assert progress == pytest.approx(at / now, abs=0.07)
    assert all(later > before for (_, before), (_, later) in pairwise(seen[4:-3]))


def test_the_bar_of_a_demo_follows_the_bytes_that_are_made() -> None:
    size = 500_000_000
    tracker, now = Tracker(0.0, *expecting(size, source="demo", fetch_bytes=size)), 0.0
    for step in (1, 2, 3):
        tracker.feed(checkpoint(step), now)
        now += 0.02
    seen: list[float] = []
    for part in range(101):
        now += 0.022
        tracker.feed(checkpoint(3, size * part // 100, size, "bytes"), now)
        seen.append(tracker.state(now)["progress"] or 0.0)
    assert seen[0] < 0.15
    assert seen[50] == pytest.approx((seen[0] + seen[-1]) / 2, abs=0.05)
