"""Which texts are ids of models."""

from __future__ import annotations

import pytest

from modelhub.errors import ModelhubError
from modelhub.model_ids import parse_model_id, plain_model_id


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


@pytest.mark.parametrize(
    ("link", "model_id"),
    [
        ("gpt2", "gpt2"),
        ("  org/name@v2 ", "org/name@v2"),
        ("https://huggingface.co/org/name", "org/name"),
        ("http://huggingface.co/org/name/", "org/name"),
        ("HTTPS://HuggingFace.co/Org/Name", "Org/Name"),
        ("huggingface.co/org/name", "org/name"),
        ("www.huggingface.co/org/name", "org/name"),
        ("hf.co/org/name", "org/name"),
        ("https:/huggingface.co/org/name", "org/name"),  # a path with its slashes merged
        (" https://huggingface.co/org/name?library=transformers#files\n", "org/name"),
        ("https://huggingface.co/gpt2", "gpt2"),
        ("https://huggingface.co/gpt2/blob/main/config.json", "gpt2"),
        ("https://huggingface.co/org/name/tree/main", "org/name"),
        ("https://huggingface.co/org/name/tree/v2", "org/name@v2"),
        ("https://huggingface.co/org/name/tree/refs%2Fpr%2F3", "org/name@refs/pr/3"),
        ("https://huggingface.co/org/name/tree/refs/pr/3", "org/name@refs/pr/3"),
        ("https://huggingface.co/org/name/blob/v2/sub/model.safetensors", "org/name@v2"),
        ("https://huggingface.co/org/name/resolve/v2/config.json?download=true", "org/name@v2"),
        ("https://huggingface.co/org/name/commit/" + "a" * 40, "org/name@" + "a" * 40),
        ("https://huggingface.co/org/name/discussions/7", "org/name"),
    ],
)
def test_a_link_to_a_model_is_its_id(link: str, model_id: str) -> None:
    assert plain_model_id(link) == model_id


def test_the_host_of_the_own_hub_is_one_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.local:8080/mirror/")
    assert plain_model_id("http://hub.local:8080/mirror/org/name/tree/v2") == "org/name@v2"
    assert plain_model_id("hub.local:8080/mirror/org/name") == "org/name"
    monkeypatch.setenv("HF_ENDPOINT", "http://hub")
    assert plain_model_id("http://hub/org/name") == "org/name"
    assert plain_model_id("hub/name") == "hub/name"


@pytest.mark.parametrize(
    ("link", "hint"),
    [
        ("https://huggingface.co/datasets/org/name", "data set"),
        ("hf.co/spaces/org/name", "space"),
        ("https://huggingface.co/", "not that of a model"),
        ("https://huggingface.co/models", "not that of a model"),
        ("https://huggingface.co/org/na me", "org/name"),
        ("https://huggingface.co/../etc", "org/name"),
        ("https://example.org/org/name", "org/name"),
        ("https://[", "org/name"),
        ("https://huggingface.co/org/name/tree/..%2F..", "org/name"),
    ],
)
def test_a_link_that_is_not_that_of_a_model_is_refused_with_what_it_is(link: str, hint: str) -> None:
    with pytest.raises(ModelhubError) as caught:
        plain_model_id(link)
    assert caught.value.code == "invalid_id"
    assert hint in caught.value.hint
