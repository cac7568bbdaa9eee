"""When a model is quarantined, and what ends that; by a clock that a test moves."""

from __future__ import annotations

import pytest

from modelhub.core.quarantine import Quarantine
from modelhub.errors import ModelhubError

MODEL = "org/name"


class Clock:
    """A clock that stands still."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def quarantine(clock: Clock) -> Quarantine:
    return Quarantine(clock)


def fail(quarantine: Quarantine, code: str = "killed", was_ready: bool = False) -> ModelhubError:
    """A failure of the model's process; returns its error."""
    error = ModelhubError(code, id=MODEL, signal="SIGKILL", needed="1 GB", free="none", why="x")
    quarantine.fail(MODEL, error, was_ready)
    return error


def is_refused(quarantine: Quarantine, by: str = "rest", retry: bool = False) -> bool:
    """Whether a request to load the model is refused."""
    try:
        quarantine.request(MODEL, by, retry)
    except ModelhubError as error:
        return error.code == "quarantined"
    return False


def test_three_failures_within_a_minute(quarantine: Quarantine, clock: Clock) -> None:
    for _ in range(2):
        assert "refused until a person" not in fail(quarantine).hint
        clock.now += 29.9
        assert not is_refused(quarantine)
    error = fail(quarantine)
    assert "It has failed 3 times within a minute" in error.hint
    (trouble,) = quarantine.troubles()
    assert (trouble.code, trouble.status) == ("quarantined", 409)
    assert trouble.message.endswith(f"The last time: {error.message}")
    clock.now += 86400
    for by in ("rest", "preload", "resume"):
        assert is_refused(quarantine, by), "time alone does not end it"
    with pytest.raises(
        ModelhubError, match=r"The last time: The process of org/name was killed from outside"
    ):
        quarantine.request(MODEL, "rest", False)
    quarantine.request("org/other", "rest", False)


def test_failures_further_apart_are_no_reason(quarantine: Quarantine, clock: Clock) -> None:
    for _ in range(20):
        fail(quarantine)
        clock.now += 30
    assert not is_refused(quarantine)


@pytest.mark.parametrize(
    ("by", "retry"), [("page", False), ("cli", False), ("rest", True), ("preload", True)]
)
def test_a_person_who_tries_again_ends_it(quarantine: Quarantine, by: str, retry: bool) -> None:
    for _ in range(3):
        fail(quarantine)
    assert not is_refused(quarantine, by, retry)
    assert not is_refused(quarantine)
    assert quarantine.troubles() == []
    for _ in range(2):
        fail(quarantine)
    assert not is_refused(quarantine), "they are counted anew"


def test_a_success_ends_it_and_the_failures_before_no_longer_count(quarantine: Quarantine) -> None:
    for _ in range(3):
        fail(quarantine)
    quarantine.succeed(MODEL)
    for _ in range(2):
        fail(quarantine)
    assert not is_refused(quarantine)


def test_a_model_whose_process_ends_each_time_it_was_ready(quarantine: Quarantine) -> None:
    for _ in range(3):
        assert not is_refused(quarantine)
        quarantine.succeed(MODEL)
        fail(quarantine, was_ready=True)
    assert is_refused(quarantine)


@pytest.mark.parametrize("code", ["no_memory", "hub_error", "interrupted", "worker_unavailable"])
def test_what_costs_no_process_does_not_count(quarantine: Quarantine, code: str) -> None:
    for _ in range(9):
        fail(quarantine, code)
    assert not is_refused(quarantine)


def test_nothing_is_kept_of_failures_that_are_over(quarantine: Quarantine, clock: Clock) -> None:
    for number in range(100):
        quarantine.fail(f"org/{number}", ModelhubError("crashed", id="x", status="1"))
    clock.now += 61
    fail(quarantine)
    assert list(quarantine._failures) == [MODEL]
