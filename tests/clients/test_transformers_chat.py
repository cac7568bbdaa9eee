"""``transformers chat``, as it is, on a pseudo-terminal against a real server."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.chat_models import WORDS
from tests.support.clients import ENDLESS, wait_idle
from tests.support.server import Server
from tests.support.terminal import CTRL_C, Terminal

TRANSFORMERS = str(Path(sys.executable).parent / "transformers")
EIGHT = "".join(WORDS[:8])
USER = "tester"


@pytest.fixture(scope="module")
def chat(chat_server: Server) -> Iterator[Terminal]:
    """A chat with a model that writes without end, but for the limits of the chat; nothing is in memory."""
    chat_server.unload_all()
    flags = ("do_sample=False", "max_new_tokens=8")
    arguments = ("chat", ENDLESS, f"{chat_server.url}/v1", *flags, "--user", USER)
    running = Terminal(os.environ, *arguments, program=TRANSFORMERS)
    yield running
    running.end()


def test_it_loads_the_model_and_shows_that(chat: Terminal) -> None:
    chat.wait_for(f"{ENDLESS} is warm.")
    chat.wait_for(f"<{USER}>:")


def test_a_conversation_is_streamed_and_ends_at_the_limits_of_the_chat(chat: Terminal) -> None:
    chat.wait_for(f"<{USER}>:")
    for turn, words in enumerate(("Tell me a story.", "Another one."), 1):
        chat.type(f"{words}\n")
        chat.wait_for_times("8 tokens in", turn)
        chat.wait_for_times("Continue generating? (y/N):", turn)
        chat.type("n\n")
        chat.wait_for_times(f"<{USER}>:", turn + 1)
    assert chat.output.count(EIGHT) >= 2


def test_a_cancel_ends_the_work(chat: Terminal, chat_server: Server) -> None:
    chat.type("!set max_new_tokens=8000\n")
    chat.wait_for_times(f"<{USER}>:", 4)
    chat.type("And on.\n")
    chat.wait_for(EIGHT + WORDS[8])
    chat.type(CTRL_C)
    wait_idle(chat_server, ENDLESS)


def test_an_error_is_shown(chat_server: Server) -> None:
    from transformers.cli.chat import RichInterface

    interface = RichInterface("nobody/nothing", USER, f"{chat_server.url}/v1")
    with pytest.raises(RuntimeError, match="the Hugging Face hub cannot be reached"):
        interface.print_model_load("nobody/nothing")
