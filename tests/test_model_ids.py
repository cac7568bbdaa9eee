"""Which texts are ids of models."""

from __future__ import annotations

import pytest

from modelhub.errors import ModelhubError
from modelhub.model_ids import parse_model_id


@pytest.mark.parametrize(
    ("text", "repo", "revision"),
    [
        ("gpt2", "gpt2", None),
        ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B", None),
        ("org/name@main", "org/name", "main"),
        ("org/name_@refs/pr/1", "org/name_", "refs/pr/1"),
    ],
)
def test_an_id_is_split_into_repo_and_revision(text: str, repo: str, revision: str | None) -> None:
    assert parse_model_id(text) == (repo, revision)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "a b",
        "../etc",
        "/etc/passwd",
        "org/../name",
        "a/b/c",
        "org/name@",
        "org//name",
        ".hidden",
        "a--b",
        "a\n",
        "name@../../x",
        "x" * 200,
        "org/na\x00me",
        "<img>",
        None,
        7,
        ["gpt2"],
    ],
)
def test_anything_else_is_refused(text: object) -> None:
    with pytest.raises(ModelhubError) as caught:
        parse_model_id(text)
    assert caught.value.code == "invalid_id"
    assert caught.value.status == 422
