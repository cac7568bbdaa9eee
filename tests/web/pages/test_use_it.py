"""The snippets on a model's page: for what the model does, at the address by which the page was asked for."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
from html import unescape
from pathlib import Path

import pytest
from flask import Flask

from modelhub.tasks import TASKS
from modelhub.web.pages.use_it import Snippet, snippets
from tests.support.types import MakeApp

ADDRESS, ID = "http://models.local:5000/", "org/name"
TOKEN = "a-token-of-its-own"


def made(task: str | None, chats: bool = True, asks: bool = False) -> dict[str, Snippet]:
    return {one.name: one for one in snippets(ID, task, chats, ADDRESS, asks)}


@pytest.mark.parametrize(
    ("task", "chats", "path"),
    [
        ("text-generation", True, "/v1/chat/completions"),
        ("text-generation", False, "/v1/completions"),
        ("image-text-to-text", False, "/v1/chat/completions"),
        ("feature-extraction", False, "/v1/embeddings"),
        ("automatic-speech-recognition", False, "/v1/audio/transcriptions"),
        ("image-classification", False, "/api/predictions"),
    ],
)
def test_the_task_decides_what_is_asked_for(task: str, chats: bool, path: str) -> None:
    found = made(task, chats)
    assert f"http://models.local:5000{path}" in shlex.split(found["curl"].code)
    assert all(ID in one.code for one in found.values())
    is_own = path.startswith("/api/")
    for name in ("Python", "JavaScript"):
        assert ("OpenAI" in found[name].code) != is_own
        assert bool(found[name].needs) != is_own
    assert ("Ollama" in found) == (path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings"))


@pytest.mark.parametrize("asks", [False, True])
@pytest.mark.parametrize("task", TASKS)
def test_every_snippet_is_a_program(task: str, asks: bool, tmp_path: Path) -> None:
    for chats in (True, False):
        for name, one in made(task, chats, asks).items():
            assert one.code.endswith("\n")
            assert not one.code.startswith("\n")
            if name in ("Python", "Ollama"):
                ast.parse(one.code)
            elif name == "curl" and "-d" in (words := shlex.split(one.code)):
                assert json.loads(words[words.index("-d") + 1])["model"] == ID


def test_every_snippet_in_javascript_is_a_module(tmp_path: Path) -> None:
    code = [made("text-generation", chats, asks=True)["JavaScript"].code for chats in (True, False)]
    others = [made(task, asks=True)["JavaScript"].code for task in TASKS if task != "text-generation"]
    for number, one in enumerate([*code, *others]):
        (tmp_path / f"{number}.mjs").write_text(one)
    checked = (
        "const { SourceTextModule } = require('vm'), { readFileSync } = require('fs');"
        "for (const name of process.argv.slice(1)) new SourceTextModule(readFileSync(name, 'utf8'))"
    )
    command = ["node", "--experimental-vm-modules", "-e", checked, *map(str, sorted(tmp_path.iterdir()))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("task", TASKS)
def test_where_a_token_is_asked_for_a_variable_stands_for_it(task: str) -> None:
    for one in made(task, asks=True).values():
        assert "MODELHUB_TOKEN" in one.code
    for one in made(task).values():
        assert "MODELHUB_TOKEN" not in one.code


def test_there_is_none_for_a_task_that_is_not_known() -> None:
    assert made(None) == made("juggling") == {}


def use_section(app: Flask, model_id: str, **headers: str) -> str:
    html = app.test_client().get(f"/models/{model_id}", headers=headers).text
    found = re.search(r'<section id="use".*?</section>', html, re.S)
    assert found is not None
    return unescape(found[0])


def own_model(folder: Path, architecture: str) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"architectures": [architecture]}))
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")


def test_the_page_has_them_before_the_model_was_loaded(make_app: MakeApp, tmp_path: Path) -> None:
    own_model(tmp_path / "models" / "org" / "chat", "LlamaForCausalLM")
    app = make_app()
    section = use_section(app, "org/chat", Host="localhost:5000")
    assert 'base_url="http://localhost:5000/v1"' in section
    assert 'model="org/chat"' in section
    assert "The first request loads the model." in section
    assert "Load the model first." in use_section(
        make_app(AUTOLOAD="off", MODELS_DIR=tmp_path / "models"), "org/chat"
    )


def test_the_page_says_so_where_the_task_is_not_known_yet(make_app: MakeApp, tmp_path: Path) -> None:
    own_model(tmp_path / "models" / "org" / "mask", "BertForMaskedLM")
    section = use_section(make_app(), "org/mask")
    assert "<pre" not in section
    assert "Once the model was loaded" in section


def test_the_page_never_has_the_token(make_app: MakeApp, tmp_path: Path) -> None:
    own_model(tmp_path / "models" / "org" / "chat", "LlamaForCausalLM")
    section = use_section(make_app(TOKEN=TOKEN), "org/chat", Authorization=f"Bearer {TOKEN}")
    assert "MODELHUB_TOKEN" in section
    assert TOKEN not in section
