"""What a machine has learned: its own rates, and of a model that was loaded before its own times."""

from __future__ import annotations

import math
import random

import pytest

from modelhub.progress.history import History, Past
from tests.support.expecting import conditions

GB = 10**9


def past(model_id: str, steps: dict[int, float], weight_bytes: int = GB, **changes: object) -> Past:
    """A load whose other steps take a millisecond each."""
    found = conditions(weight_bytes, **changes)
    return Past.of(model_id, found, tuple(steps.get(step, 0.001) for step in range(1, 10)), weight_bytes)


def cold(model_id: str, bytes_per_s: float, weight_bytes: int = GB) -> Past:
    return past(model_id, {5: weight_bytes / bytes_per_s, 9: 0.2}, weight_bytes)


def warm(model_id: str, forward_s: float, weight_bytes: int = GB) -> Past:
    return past(model_id, {5: 0.02, 9: forward_s}, weight_bytes, cached_bytes=weight_bytes)


def test_without_a_load_the_reference_is_expected_and_the_interval_is_wide() -> None:
    forecast = History().expect("a/a", conditions(GB)).forecast()
    assert forecast["basis"] == "none"
    assert forecast["high"] > 3 * forecast["low"]
    assert sum(forecast["steps"]) == pytest.approx(forecast["seconds"], abs=0.01)


def test_a_slower_processor_takes_longer_where_nothing_was_loaded_yet() -> None:
    quick, slow = (History(speed).expect("a/a", conditions(GB, cached_bytes=GB)) for speed in (1.0, 0.5))
    assert sum(slow.seconds) == pytest.approx(2 * sum(quick.seconds), rel=0.01)


@pytest.mark.parametrize("bytes_per_s", [100e6, 3e9])
def test_the_disk_of_the_machine_is_learned_from_other_models(bytes_per_s: float) -> None:
    history = History()
    history.learn(
        cold(name, bytes_per_s, size) for name, size in (("a/a", GB), ("a/b", GB // 2), ("a/c", 2 * GB))
    )
    found = history.expect("a/new", conditions(4 * GB))
    assert found.basis == "machine"
    assert found.reading_s == pytest.approx(4 * GB / bytes_per_s, rel=0.1)
    assert sum(found.seconds[:5]) == pytest.approx(found.reading_s, rel=0.05)


def test_weights_in_the_page_cache_wait_for_no_disk() -> None:
    history = History()
    history.learn([cold("a/a", 100e6), warm("a/a", 0.3)])
    is_cold, is_warm = (history.expect("a/a", conditions(GB, cached_bytes=cached)) for cached in (0, GB))
    assert sum(is_cold.seconds) == pytest.approx(10.2, rel=0.1)
    assert sum(is_warm.seconds) == pytest.approx(0.33, rel=0.1)
    half = history.expect("a/a", conditions(GB, cached_bytes=GB // 2))
    assert sum(half.seconds) == pytest.approx(5.2, rel=0.1)


def test_the_own_loads_of_a_model_count_and_of_those_the_newer_ones() -> None:
    history = History()
    history.learn(warm("a/a", 5.0) for _ in range(3))
    history.learn(warm("a/a", 1.0) for _ in range(5))
    history.learn(warm("b/b", 30.0) for _ in range(9))
    own = history.expect("a/a", conditions(GB, cached_bytes=GB))
    assert (own.basis, own.seconds[8]) == ("model", pytest.approx(1.0))
    forecast = own.forecast()
    assert forecast["high"] < 3 * forecast["low"], "worth showing"


def test_an_outlier_does_not_count() -> None:
    history = History()
    history.learn([*(warm("a/a", 1.0) for _ in range(4)), warm("a/a", 60.0)])
    assert history.expect("a/a", conditions(GB, cached_bytes=GB)).seconds[8] == pytest.approx(1.0)


def test_a_download_takes_as_long_as_the_network_has_lately() -> None:
    history = History()
    fetched = conditions(None, fetch_bytes=None)
    steps = tuple(20.0 if step == 3 else 0.01 for step in range(1, 10))
    history.learn([Past.of("a/a", fetched, steps, GB)])
    known = conditions(None, fetch_bytes=2 * GB)
    assert history.expect("a/new", known).seconds[2] == pytest.approx(40, rel=0.2)
    unknown = history.expect("a/new", conditions(None)).forecast()
    assert unknown["high"] > 3 * unknown["low"], "its size is not known"


def test_what_the_process_comes_from_counts() -> None:
    history = History()
    history.learn([past("a/a", {1: 5.0}, start="import", wait_s=5.0), past("a/a", {1: 0.1}, start="fork")])
    waiting = conditions(GB, start="import", wait_s=5.0)
    assert history.expect("b/b", waiting).seconds[0] == pytest.approx(5.0, rel=0.1)
    assert history.expect("b/b", conditions(GB, start="fork")).seconds[0] == pytest.approx(0.1, rel=0.1)


def test_a_history_is_bounded_however_many_models_there_are() -> None:
    history = History()
    history.learn(warm(f"a/{number}", 1.0) for number in range(1000))
    assert len(history.models) <= 200
    assert history.expect("a/999", conditions(GB, cached_bytes=GB)).basis == "model"
    assert history.expect("a/0", conditions(GB, cached_bytes=GB)).basis == "machine"


def test_whatever_was_learned_something_is_expected() -> None:
    noise = random.Random(11)

    def any_load() -> Past:
        size = noise.choice([0, 1, 10**3, GB, 10**12, None])
        given = conditions(
            size,
            cached_bytes=noise.choice([0, size or 0, 10**13]),
            fetch_bytes=noise.choice([0, size, None]),
            other_bytes=noise.choice([0, 10**8]),
            start=noise.choice(["import", "fork", "spare", "prepared"]),
            wait_s=noise.choice([0.0, 0.001, 500.0]),
            others=noise.choice([0, 7]),
        )
        steps = [noise.choice([0.0, 1e-9, 0.01, 1.0, 1e6]) for _ in range(9)]
        return Past.of(noise.choice("abc"), given, steps, size)

    for _ in range(100):
        history = History(noise.choice([0.01, 1.0, 50.0]))
        history.learn(any_load() for _ in range(noise.randrange(20)))
        wanted = any_load()
        found = history.expect(wanted.model_id, wanted.conditions)
        assert all(seconds > 0 and math.isfinite(seconds) for seconds in found.seconds)
        forecast = found.forecast()
        assert 0 <= forecast["low"] <= forecast["seconds"] <= forecast["high"]
