"""The queue of loads."""

from __future__ import annotations

import pytest

from modelhub.checkpoints import LoadSpec
from modelhub.config import read_settings
from modelhub.core.load import Load
from modelhub.core.load_queue import MAX_WAITING, LoadQueue
from modelhub.core.one_machine import OneMachine
from modelhub.errors import ModelhubError


def _queue() -> LoadQueue:
    """The queue of this machine, with a slot."""
    return LoadQueue(OneMachine(read_settings({"MODELHUB_MAX_CONCURRENT_LOADS": "1"}, {})))


def _load(name: str) -> Load:
    return Load(LoadSpec(name, models_dir="", demo_dir=""), "rest")


def test_first_come_first_served() -> None:
    queue = _queue()
    loads = [_load(name) for name in "abc"]
    for load in loads:
        queue.join(load)
    assert [load.may_run for load in loads] == [True, False, False]
    assert [queue.position(load) for load in loads] == [None, 1, 2]
    queue.release(loads[0])
    assert [load.may_run for load in loads] == [False, True, False]
    assert queue.position(loads[2]) == 1


def test_a_load_that_leaves_moves_the_others_up_and_wakes_them() -> None:
    queue = _queue()
    loads = [_load(name) for name in "abc"]
    for load in loads:
        queue.join(load)
        load.wakeup.clear()
    queue.leave(loads[1])
    assert queue.position(loads[2]) == 1
    assert loads[2].wakeup.is_set()


def test_a_slot_is_released_once() -> None:
    queue = _queue()
    first, second, third = (_load(name) for name in "abc")
    queue.join(first)
    queue.release(first)
    queue.release(first)
    queue.join(second)
    queue.join(third)
    assert (second.may_run, third.may_run) == (True, False)


def test_a_full_queue_refuses_a_load() -> None:
    queue = _queue()
    for number in range(MAX_WAITING + 1):
        queue.join(_load(str(number)))
    with pytest.raises(ModelhubError) as caught:
        queue.join(_load("one too many"))
    assert (caught.value.code, caught.value.status) == ("queue_full", 503)
