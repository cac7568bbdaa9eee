"""The table of failures, and errors made from it."""

from __future__ import annotations

import string

import pytest

from modelhub.errors import FAILURES, ModelhubError


@pytest.mark.parametrize("code", sorted(FAILURES))
def test_every_failure_has_a_status_a_message_and_a_hint(code: str) -> None:
    failure = FAILURES[code]
    names = {name for text in failure[1:] for _, name, _, _ in string.Formatter().parse(text) if name}
    for fact in ("A sentence.", "No sentence", "A question?"):
        error = ModelhubError(code, **dict.fromkeys(names, fact))
        assert 400 <= error.status < 600
        assert error.message.endswith((".", "?"))
        assert error.hint.endswith((".", "?"))


def test_an_error_is_the_same_in_another_process() -> None:
    error = ModelhubError("no_memory", id="org/name", needed="2.0 GB", free="1.0 GB")
    again = ModelhubError.from_dict(error.to_dict())
    assert (again.code, again.status, again.message, again.hint) == (
        "no_memory",
        507,
        error.message,
        error.hint,
    )


def test_a_hostile_value_can_neither_flood_nor_forge_the_log() -> None:
    error = ModelhubError("corrupt", id="a", file="x\n2026 INFO forged " + "y" * 5000, why="z")
    assert "\n" not in error.message
    assert len(error.message) < 500
