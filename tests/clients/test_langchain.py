"""LangChain's client of OpenAI, as it is, against a real server."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import SecretStr

from tests.support.chat_models import STORY, WORDS
from tests.support.clients import ASK, ENCODER, ENDLESS, STORYTELLER, wait_idle
from tests.support.server import Server

KEY = SecretStr("none")
HELLO: list[Any] = [SystemMessage("Be brief."), HumanMessage(ASK)]


def _chat(server: Server, model: str = STORYTELLER, **more: Any) -> ChatOpenAI:
    return ChatOpenAI(model=model, base_url=f"{server.url}/v1", api_key=KEY, temperature=0, **more)


def test_a_conversation(chat_server: Server) -> None:
    first = _chat(chat_server).invoke(HELLO)
    assert first.content == STORY
    assert isinstance(first, AIMessage)
    assert first.usage_metadata is not None
    second = _chat(chat_server, max_completion_tokens=4).invoke([*HELLO, first, HumanMessage("Another one.")])
    assert second.content == "".join(WORDS[:4])
    assert second.response_metadata["finish_reason"] == "length"
    assert second.usage_metadata is not None
    assert second.usage_metadata["input_tokens"] > first.usage_metadata["input_tokens"]


def test_a_stream(chat_server: Server) -> None:
    chunks = list(_chat(chat_server).stream(HELLO))
    assert "".join(str(chunk.content) for chunk in chunks) == STORY
    assert len(chunks) > len(WORDS)


def test_a_cancel(chat_server: Server) -> None:
    stream = _chat(chat_server, ENDLESS, max_completion_tokens=8000).stream(HELLO)
    assert next(stream) is not None
    stream.close()  # type: ignore[attr-defined] - it is a generator
    wait_idle(chat_server, ENDLESS)


def test_an_error(chat_server: Server) -> None:
    structured = _chat(chat_server).with_structured_output(
        {"title": "Story", "type": "object", "properties": {}}
    )
    with pytest.raises(openai.BadRequestError, match="response_format") as refused:
        structured.invoke(HELLO)
    assert refused.value.param == "response_format"


def test_embeddings(chat_server: Server) -> None:
    at: dict[str, Any] = {"model": ENCODER, "base_url": f"{chat_server.url}/v1", "api_key": KEY}
    # By default it sends the token ids of another model: test_openai has what it is told then.
    found = OpenAIEmbeddings(**at, check_embedding_ctx_length=False).embed_documents(["a ship", "a boat"])
    assert len(found) == 2
    assert len(found[0]) == len(found[1]) > 1
