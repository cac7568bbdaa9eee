"""Tokens: what they may look like, and the file they may be in."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelhub.config import read_settings
from modelhub.errors import ModelhubError
from modelhub.tokens import Tokens, read_file

TOKEN, VIEW = "a-token-of-its-own", "another.token_to/watch=="


@pytest.mark.parametrize(
    "token", ["short", "fifteen-letters", "with a space in it", "with=in-the-middle", "ü" * 20]
)
def test_a_token_that_is_short_or_no_header_could_hold_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(ModelhubError) as caught:
        read_settings(environ={"MODELHUB_TOKEN": token})
    assert caught.value.code == "bad_setting"
    assert "at least 16 characters" in caught.value.message
    assert token not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"MODELHUB_VIEW_TOKEN": VIEW}, "A view token needs MODELHUB_TOKEN beside it."),
        ({"MODELHUB_VIEW_TOKEN": TOKEN, "MODELHUB_TOKEN": TOKEN}, "The two tokens must differ."),
    ],
)
def test_a_view_token_is_beside_another_one(settings: dict[str, str], why: str) -> None:
    with pytest.raises(ModelhubError) as caught:
        read_settings(environ=settings)
    assert why in caught.value.message
    assert TOKEN not in caught.value.message


def test_settings_do_not_show_the_tokens() -> None:
    settings = read_settings(environ={"MODELHUB_TOKEN": TOKEN, "MODELHUB_VIEW_TOKEN": VIEW})
    assert settings.read_tokens() == Tokens(TOKEN, VIEW)
    assert TOKEN not in repr(settings)
    assert VIEW not in repr(settings)


def test_both_tokens_may_be_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"{TOKEN}\n")
    assert read_file(file) == Tokens(TOKEN)
    file.write_text(f"{TOKEN}\n{VIEW}\n")
    assert read_settings(environ={"MODELHUB_TOKEN_FILE": str(file)}).read_tokens() == Tokens(TOKEN, VIEW)
    with pytest.raises(ModelhubError) as caught:
        read_settings(environ={"MODELHUB_TOKEN_FILE": str(file), "MODELHUB_TOKEN": VIEW})
    assert "MODELHUB_TOKEN_FILE is set already" in caught.value.message


@pytest.mark.parametrize(
    "content", ["", "\n", "short\n", f"\n{TOKEN}\n", f"{TOKEN}\n{TOKEN}\n", f"{TOKEN}\nno token\n"]
)
def test_a_file_without_tokens_stops_the_start(tmp_path: Path, content: str) -> None:
    file = tmp_path / "tokens"
    file.write_text(content)
    with pytest.raises(ModelhubError) as caught:
        read_settings(environ={"MODELHUB_TOKEN_FILE": str(file)})
    assert "MODELHUB_TOKEN_FILE" in caught.value.message
    assert TOKEN not in caught.value.message
    with pytest.raises(ModelhubError):
        read_settings(environ={"MODELHUB_TOKEN_FILE": str(tmp_path / "missing")})
