"""Stops: however the text is split, what is said is the text up to the first stop."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelhub.inference.chat.stops import Stops

LETTERS = st.text("abc", max_size=30)
STOPS = st.lists(st.text("abc", min_size=1, max_size=4), max_size=4)


def cut(text: str, stops: list[str]) -> str:
    """The text before the stop that is complete first."""
    for end in range(len(text) + 1):
        complete = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if complete:
            return text[: min(complete)]
    return text


def said(pieces: list[str], stops: list[str]) -> tuple[list[str], bool]:
    """What is said with each piece and at the end, and whether a stop was found."""
    finder = Stops(stops)
    frames = [finder.add(piece) for piece in pieces]
    return [*frames, finder.end()], finder.found


@settings(max_examples=500, deadline=None)
@given(st.lists(LETTERS, max_size=8), STOPS)
def test_the_split_makes_no_difference(pieces: list[str], stops: list[str]) -> None:
    text = "".join(pieces)
    frames, found = said(pieces, stops)
    assert "".join(frames) == cut(text, stops)
    assert found == any(stop in text for stop in stops)


@settings(max_examples=200, deadline=None)
@given(LETTERS, STOPS)
def test_nothing_is_held_back_that_cannot_become_a_stop(text: str, stops: list[str]) -> None:
    finder = Stops(stops)
    spoken = finder.add(text)
    if not finder.found:
        held = text[len(spoken) :]
        assert not held or any(stop.startswith(held) for stop in stops)


def test_a_stop_over_several_tokens_is_no_part_of_the_text() -> None:
    assert said(["Hello", "\nUs", "er", ": what"], ["\nUser:"]) == (["Hello", "", "", "", ""], True)


def test_what_only_looked_like_a_stop_is_said() -> None:
    assert said(["Hello\n", "Use", "less"], ["\nUser:"]) == (["Hello", "", "\nUseless", ""], False)


@pytest.mark.parametrize("stops", [["cd", "bcx"], ["bcx", "cd"]])
def test_the_stop_that_is_complete_first_wins(stops: list[str]) -> None:
    assert said(["ab", "c", "dx"], stops) == (["a", "", "b", ""], True)


def test_nothing_comes_after_a_stop() -> None:
    finder = Stops(["x"])
    assert (finder.add("ax"), finder.add("b"), finder.end()) == ("a", "", "")
