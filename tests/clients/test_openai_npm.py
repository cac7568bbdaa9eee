"""The official client of OpenAI from npm, as it is, run by Node.js against a real server."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support import npm
from tests.support.chat_models import STORY, WORDS
from tests.support.clients import ENDLESS, wait_idle
from tests.support.server import Server


@pytest.fixture(scope="module")
def packages(request: pytest.FixtureRequest) -> Path:
    """The folder of the script, with the client."""
    return npm.installed(Path(__file__).parent / "npm", Path(request.config.cache.mkdir("npm")))


def _run(packages: Path, server: Server, what: str) -> Any:
    command = ["node", "openai.mjs", server.url, what]
    done = subprocess.run(command, cwd=packages, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_conversation(packages: Path, chat_server: Server) -> None:
    first, second = _run(packages, chat_server, "conversation")
    assert (first["text"], first["reason"]) == (STORY, "stop")
    assert (second["text"], second["reason"]) == ("".join(WORDS[:4]), "length")
    assert second["usage"]["prompt_tokens"] > first["usage"]["total_tokens"]


def test_a_stream(packages: Path, chat_server: Server) -> None:
    found = _run(packages, chat_server, "stream")
    assert (found["text"], found["reason"]) == (STORY, "stop")
    assert found["chunks"] > len(WORDS)
    assert found["usage"]["completion_tokens"] == len(WORDS) + 1


def test_a_cancel(packages: Path, chat_server: Server) -> None:
    assert 5 <= _run(packages, chat_server, "cancel")["chunks"] < 1000
    wait_idle(chat_server, ENDLESS)


def test_an_error(packages: Path, chat_server: Server) -> None:
    found = _run(packages, chat_server, "failure")
    message = found.pop("message")
    assert found == {"kind": "BadRequestError", "status": 400, "code": "invalid_request", "param": "n"}
    assert "Nothing but 1 is supported here" in message
