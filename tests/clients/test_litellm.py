"""LiteLLM, as it is, against a real server."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.support.chat_models import STORY, WORDS
from tests.support.clients import ASK, ENDLESS, STORYTELLER, wait_idle
from tests.support.server import Server

# Else it fetches the map when it is imported.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
import litellm

pytestmark = pytest.mark.filterwarnings("ignore")  # of pydantic, about the types of the library
HELLO: list[Any] = [{"role": "user", "content": ASK}]


def _ask(server: Server, model: str, messages: list[Any], **more: Any) -> Any:
    at = {"api_base": f"{server.url}/v1", "api_key": "none"}
    return litellm.completion(model=f"openai/{model}", messages=messages, temperature=0, **at, **more)


def test_a_conversation(chat_server: Server) -> None:
    first = _ask(chat_server, STORYTELLER, HELLO)
    assert (first.choices[0].message.content, first.choices[0].finish_reason) == (STORY, "stop")
    answer = {"role": "assistant", "content": first.choices[0].message.content}
    second = _ask(chat_server, STORYTELLER, [*HELLO, answer, *HELLO], max_tokens=4)
    assert (second.choices[0].message.content, second.choices[0].finish_reason) == (
        "".join(WORDS[:4]),
        "length",
    )
    assert second.usage.prompt_tokens > first.usage.prompt_tokens


def test_a_stream(chat_server: Server) -> None:
    chunks = list(_ask(chat_server, STORYTELLER, HELLO, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == STORY
    assert chunks[-1].usage.completion_tokens == len(WORDS) + 1


def test_a_cancel(chat_server: Server) -> None:
    stream = _ask(chat_server, ENDLESS, HELLO, max_tokens=8000, stream=True)
    assert next(iter(stream)).choices
    stream.completion_stream.close()
    wait_idle(chat_server, ENDLESS)


def test_an_error(chat_server: Server) -> None:
    with pytest.raises(litellm.BadRequestError, match="n: Nothing but 1 is supported here"):
        _ask(chat_server, STORYTELLER, HELLO, n=2)
