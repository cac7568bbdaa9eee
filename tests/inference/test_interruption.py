"""A prediction that is ended while it runs, in the model or in Python, or before; the next one is not."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from modelhub.inference.interruption import Interrupted, Interruption
from modelhub.inference.pipelines import Predictor
from tests.support.loads import run, spec_for

FAST_S = 1.0
LONG = {"max_new_tokens": 8_000, "min_new_tokens": 8_000}


@pytest.fixture(scope="module")
def interruption() -> Interruption:
    return Interruption()


@pytest.fixture(scope="module")
def llama(made: Path, interruption: Interruption) -> Predictor:
    return Predictor(run(spec_for("tiny/llama", made))[1], interruption)


@pytest.fixture
def number(interruption: Interruption) -> int:
    return interruption.number + 1


def _loop_for_ever() -> None:
    while True:
        pass


def test_a_model_that_generates_is_stopped(llama: Predictor, interruption: Interruption, number: int) -> None:
    stopped_at: list[float] = []

    def stop() -> None:
        stopped_at.append(time.monotonic())
        interruption.stop(number)

    timer = threading.Timer(0.3, stop)
    timer.start()
    with pytest.raises(Interrupted) as caught:
        interruption.run(number, 0, lambda: llama.predict("hello", LONG))
    assert time.monotonic() - stopped_at[0] < FAST_S
    timer.join()
    assert not caught.value.overdue
    assert interruption.run(number + 1, 0, lambda: llama.predict("hello", {"max_new_tokens": 2}))


@pytest.mark.parametrize("function", [_loop_for_ever, lambda: time.sleep(60)])
def test_what_takes_too_long_is_ended(
    interruption: Interruption, number: int, function: Callable[[], None]
) -> None:
    began = time.monotonic()
    with pytest.raises(Interrupted) as caught:
        interruption.run(number, 0.1, function)
    assert caught.value.overdue
    assert time.monotonic() - began < 0.1 + FAST_S


def test_what_takes_the_exception_for_its_own_gets_another(interruption: Interruption, number: int) -> None:
    count = []

    def stubborn() -> None:
        for _ in range(3):
            try:
                _loop_for_ever()
            except BaseException as error:
                count.append(error)
        raise count[-1]

    with pytest.raises(Interrupted):
        interruption.run(number, 0.1, stubborn)
    assert len(count) == 3


def test_one_that_was_stopped_before_it_began_never_runs(interruption: Interruption, number: int) -> None:
    interruption.stop(number + 1)
    assert interruption.run(number, 0, lambda: "this one runs") == "this one runs"
    with pytest.raises(Interrupted):
        interruption.run(number + 1, 0, pytest.fail)


def test_a_stop_that_comes_too_late_changes_nothing(interruption: Interruption, number: int) -> None:
    assert interruption.run(number, 0, lambda: 1) == 1
    interruption.stop(number)
    assert interruption.run(number + 1, 0, lambda: 2) == 2


def test_the_timer_ends_with_the_prediction(interruption: Interruption, number: int) -> None:
    before = signal.getsignal(signal.SIGALRM)
    interruption.run(number, 0.1, lambda: None)
    assert signal.getsignal(signal.SIGALRM) is before
    with pytest.raises(ZeroDivisionError):
        interruption.run(number + 1, 0.1, lambda: 1 / 0)
    assert signal.getsignal(signal.SIGALRM) is before
