"""The snippets of a model's page do what they say: each is copied from the page and run as it is."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import wave
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from tests.support.chat_models import STORY, make_story
from tests.support.ids import BERT, LLAMA, SPEECH
from tests.support.locked import TOKEN, LockedServer, bearer
from tests.support.server import Server

ENCODER = "published/minilm"
CHAT = "snippets/story"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the snippets run, with the file that they name."""
    with wave.open(str(tmp_path / "speech.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(2 * 16_000))
    return tmp_path


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chat model, to be copied to where a server finds it."""
    return make_story(tmp_path_factory.mktemp("made") / "story")


def put(story: Path, models_dir: Path) -> None:
    """Have a server find the chat model, at once with all of its files: it may look at any moment."""
    aside = models_dir / ".story"
    shutil.copytree(story, aside)
    (models_dir / CHAT).parent.mkdir()
    aside.rename(models_dir / CHAT)


def snippet(server: Server, model_id: str, name: str, **headers: str) -> str:
    """What is on the page."""
    html = server.get(f"/models/{model_id}", headers={"Accept": "text/html", **headers}).text
    found = re.search(rf'<pre [^>]*id="use-{name}"[^>]*>(.*?)</pre>', html, re.S)
    assert found is not None, f"the page of {model_id} has no snippet for {name}"
    return unescape(found[1])


def run(code: str, name: str, folder: Path, **environ: str) -> str:
    """Run a snippet; returns what it prints."""
    commands = {"curl": ["bash", "-c"], "javascript": ["node", "--input-type=module", "-e"]}
    command = [*commands.get(name, [sys.executable, "-c"]), code]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def ran(server: Server, model_id: str, name: str, folder: Path) -> str:
    return run(snippet(server, model_id, name), name, folder)


def answer(server: Server, model_id: str, folder: Path) -> Any:
    """What curl prints."""
    return json.loads(ran(server, model_id, "curl", folder))


def test_a_chat(empty_server: Server, models_dir: Path, story: Path, folder: Path) -> None:
    put(story, models_dir)
    (choice,) = answer(empty_server, CHAT, folder)["choices"]
    assert choice["message"]["content"] == STORY
    assert ran(empty_server, CHAT, "python", folder) == STORY


def test_a_text_that_goes_on(empty_server: Server, folder: Path) -> None:
    (choice,) = answer(empty_server, LLAMA, folder)["choices"]
    assert choice["finish_reason"] == "length"
    for name in ("python", "ollama"):
        assert ran(empty_server, LLAMA, name, folder)


def test_embeddings(empty_server: Server, folder: Path) -> None:
    vector = answer(empty_server, ENCODER, folder)["data"][0]["embedding"]
    assert len(vector) == 384
    for name in ("python", "ollama"):
        assert json.loads(ran(empty_server, ENCODER, name, folder)) == pytest.approx(vector, abs=1e-4)


def test_a_transcription(empty_server: Server, folder: Path) -> None:
    empty_server.load(SPEECH)  # what it does is known then
    text = answer(empty_server, SPEECH, folder)["text"]
    assert ran(empty_server, SPEECH, "python", folder) == f"{text}\n"


def test_any_other_task(empty_server: Server, folder: Path) -> None:
    empty_server.load(BERT)
    first = answer(empty_server, BERT, folder)["outputs"][0]
    assert first["token_str"]
    for name in ("python", "javascript"):
        assert first["token_str"] in ran(empty_server, BERT, name, folder)


def test_with_a_token_in_its_variable(locked_server: LockedServer, story: Path, folder: Path) -> None:
    models_dir = locked_server.data_dir / "models"
    models_dir.mkdir(exist_ok=True)
    put(story, models_dir)
    for name in ("curl", "python", "ollama"):
        code = snippet(locked_server, CHAT, name, **bearer(TOKEN))
        assert TOKEN not in code
        assert STORY in run(code, name, folder, MODELHUB_TOKEN=TOKEN)
    locked_server.unload_all()
