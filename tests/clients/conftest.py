"""What the tests of clients share: one server with models that chat, and one that hears."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import models, task_models
from tests.support.chat_models import make_random_chat, make_story
from tests.support.clients import ENCODER, ENDLESS, RANDOM, SPEECH, STORYTELLER, WHISPER
from tests.support.server import Server


@pytest.fixture(scope="session")
def chat_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without a token, warm, with models for clients of other programs' APIs."""
    folder = tmp_path_factory.mktemp("chats")
    make_story(folder / STORYTELLER)
    make_story(folder / ENDLESS, is_endless=True)
    make_random_chat(folder / RANDOM)
    models.make_wav2vec2(folder / SPEECH)
    task_models.make_timed_whisper(folder / WHISPER)
    task_models.TASK_MODELS["feature-extraction"]["bert-base"](folder / ENCODER)
    running = Server(tmp_path_factory.mktemp("data"), MODELS_DIR=folder).start().wait_warm()
    yield running
    running.stop()
