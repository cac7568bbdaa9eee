"""Which node takes a load, and why: by what nodes have reported, without any."""

from __future__ import annotations

import random

import pytest

from modelhub.cluster.placement import MOST, Candidate, order

GB = 10**9
PLAIN = Candidate("a", 8 * GB, 2 * GB, False, False, True, 0, 1, 0)


def names(*candidates: Candidate, device: str = "auto") -> list[str]:
    """The nodes in their order, however they were given."""
    mixed = random.Random(7).sample(candidates, len(candidates))
    return [choice.name for choice in order(mixed, device)]


def test_prepared_comes_before_files_and_files_before_memory() -> None:
    prepared = PLAIN._replace(name="prepared", free_bytes=3 * GB, is_prepared=True, has_files=True)
    files = PLAIN._replace(name="files", free_bytes=5 * GB, has_files=True)
    larger = PLAIN._replace(name="larger", free_bytes=64 * GB)
    assert names(PLAIN, prepared, files, larger) == ["prepared", "files"]
    assert names(PLAIN, larger) == ["larger", "a"]
    assert [choice.why for choice in order([files, prepared], "auto")] == [
        "it is prepared there, 3.0 GB free",
        "its files are there, 5.0 GB free",
    ]
    assert [choice.why for choice in order([larger], "auto")] == ["most memory, 64.0 GB free"]


def test_a_load_waits_for_a_node_with_its_files() -> None:
    busy = PLAIN._replace(name="busy", loads=1, has_files=True)
    assert names(busy, PLAIN) == []
    assert names(busy._replace(loads=0), PLAIN) == ["busy"]
    assert names(busy._replace(free_bytes=GB), PLAIN) == ["a"], "it would wait in vain"


def test_what_nobody_could_fetch_goes_where_it_is() -> None:
    full = PLAIN._replace(name="full", free_bytes=GB, has_files=True)
    assert [choice.name for choice in order([full, PLAIN], "auto", needs_files=True)] == ["full"]
    assert order([PLAIN], "auto", needs_files=True) == []


def test_one_without_room_comes_last_whatever_it_has() -> None:
    full = PLAIN._replace(name="full", free_bytes=GB, is_prepared=True, has_files=True)
    assert names(full, PLAIN) == ["a", "full"]
    unknown = full._replace(need_bytes=None)
    assert names(unknown, PLAIN._replace(need_bytes=None)) == ["full"]


def test_among_equals_the_warm_one_then_the_idle_one_then_the_larger_one() -> None:
    cold = PLAIN._replace(name="cold", free_bytes=64 * GB, is_warm=False)
    busy = PLAIN._replace(name="busy", free_bytes=64 * GB, loads=1, slots=2)
    larger = PLAIN._replace(name="larger", free_bytes=9 * GB)
    assert names(cold, busy, PLAIN, larger) == ["larger", "a", "busy"]
    assert names(PLAIN._replace(name="z"), PLAIN) == ["a", "z"]


def test_one_whose_slots_are_taken_is_left_out() -> None:
    assert names(PLAIN._replace(loads=1), PLAIN._replace(name="b", loads=1, slots=2)) == ["b"]
    assert names(PLAIN._replace(loads=1)) == []


@pytest.mark.parametrize(
    ("device", "found"),
    [("cuda", ["one", "two"]), ("cuda:1", ["two"]), ("cuda:2", []), ("cpu", ["a", "one"])],
)
def test_a_gpu_that_is_asked_for_has_to_be_there(device: str, found: list[str]) -> None:
    one, two = PLAIN._replace(name="one", gpus=1), PLAIN._replace(name="two", gpus=2)
    assert names(*([PLAIN, one] if device == "cpu" else [PLAIN, one, two]), device=device) == found


def test_no_more_than_three_are_tried() -> None:
    assert len(order([PLAIN._replace(name=f"n{number}") for number in range(9)], "auto")) == MOST
