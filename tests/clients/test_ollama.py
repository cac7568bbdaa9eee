"""The official Python client of Ollama, as it is, against a real server."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import ollama
import psutil
import pytest
import requests

from tests.support import models, task_models
from tests.support.chat_models import STORY, WORDS, make_story
from tests.support.chat_templates import QWEN
from tests.support.hub_server import HubServer
from tests.support.server import Server, wait_until

CHAT, ENDLESS, PLAIN, ENCODER = "tiny/story", "tiny/endless", "tiny/llama", "tiny/encoder"
CALLER, ON_HUB = "tiny/caller", "org/pulled"
CALL = (
    *("<think>", "I have to", " add.", "</think>", "<tool_call>", '{"name": "add",'),
    *(' "arguments": {"a": 1, "b": 2}}', "</tool_call>"),
)
HELLO: list[Any] = [{"role": "user", "content": "Tell me a story."}]
LIKELIEST = {"temperature": 0}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with models of its own, and a hub on loopback that has another one."""
    folder = tmp_path_factory.mktemp("models")
    make_story(folder / CHAT)
    make_story(folder / ENDLESS, is_endless=True)
    make_story(folder / CALLER, words=CALL)
    (folder / CALLER / "chat_template.jinja").write_text(QWEN)
    models.make_llama(folder / PLAIN)
    task_models.TASK_MODELS["feature-extraction"]["bert-base"](folder / ENCODER)
    with HubServer(tmp_path_factory.mktemp("hub")) as hub:
        models.make_llama(hub.root / ON_HUB)
        environ = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0"}
        server = Server(tmp_path_factory.mktemp("data"), environ, MODELS_DIR=folder).start().wait_warm()
        yield server
        server.stop()


@pytest.fixture
def client(server: Server) -> Iterator[ollama.Client]:
    """The client, with no model in memory."""
    server.unload_all()
    with ollama.Client(host=server.url) as client:
        yield client


def test_a_conversation(client: ollama.Client) -> None:
    first = client.chat(CHAT, HELLO, options=LIKELIEST)
    assert first.message.content == STORY
    assert (first.done, first.done_reason, first.eval_count) == (True, "stop", len(WORDS) + 1)
    assert first.load_duration
    again = [*HELLO, first.message, {"role": "user", "content": "Another one, please."}]
    second = client.chat(f"{CHAT}:latest", again, options={**LIKELIEST, "num_predict": 4, "num_ctx": 4096})
    assert (second.message.content, second.done_reason) == ("".join(WORDS[:4]), "length")
    assert second.prompt_eval_count is not None
    assert first.prompt_eval_count is not None
    assert second.prompt_eval_count > first.prompt_eval_count


def test_a_stream(client: ollama.Client) -> None:
    parts = list(client.chat(CHAT, HELLO, options=LIKELIEST, stream=True))
    assert "".join(part.message.content or "" for part in parts) == STORY
    assert len([part for part in parts if part.message.content]) == len(WORDS)
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert parts[-1].eval_duration


def test_a_prompt(client: ollama.Client) -> None:
    whole = client.generate(CHAT, "Tell me a story.", system="Be short.", options=LIKELIEST)
    assert whole.response == STORY
    parts = client.generate(CHAT, "One", raw=True, options={**LIKELIEST, "stop": [" model"]}, stream=True)
    assert "".join(part.response or "" for part in parts) == " day there was a"
    # A model without a chat template continues the text.
    assert client.generate(PLAIN, "One", options={"num_predict": 2}).eval_count == 2


def test_a_tool_is_called_after_thinking_and_its_result_is_taken(client: ollama.Client) -> None:
    def add(a: int, b: int) -> int:
        """Add two numbers.

        Args:
            a: The first number.
            b: The second number.
        """
        return a + b

    asked = [{"role": "user", "content": "What is 1 and 2?"}]
    called = client.chat(CALLER, asked, tools=[add], options=LIKELIEST)
    assert called.message.tool_calls is not None
    (call,) = called.message.tool_calls
    assert (call.function.name, call.function.arguments) == ("add", {"a": 1, "b": 2})
    assert (called.message.thinking, called.message.content) == ("I have to add.", "")
    result = {"role": "tool", "tool_name": "add", "content": str(add(**call.function.arguments))}
    parts = client.chat(
        CALLER, [*asked, called.message, result], tools=[add], options=LIKELIEST, think=True, stream=True
    )
    told = list(parts)
    assert "".join(part.message.thinking or "" for part in told) == "I have to add."
    assert [call.function.name for part in told for call in part.message.tool_calls or ()] == ["add"]
    assert told[-1].done_reason == "stop"


def test_log_probabilities(client: ollama.Client) -> None:
    answer = client.chat(CHAT, HELLO, logprobs=True, top_logprobs=2, options={**LIKELIEST, "num_predict": 2})
    assert answer.logprobs is not None
    assert [one.token for one in answer.logprobs] == list(WORDS[:2])
    for one in answer.logprobs:
        assert one.top_logprobs is not None
        assert len(one.top_logprobs) == 2
        assert one.logprob == one.top_logprobs[0].logprob <= 0


def test_who_leaves_a_stream_ends_the_work(client: ollama.Client, server: Server) -> None:
    stream: Any = client.chat(ENDLESS, HELLO, stream=True)
    for _ in zip(range(20), stream, strict=False):
        pass
    process = server.process_of(ENDLESS)
    stream.close()
    wait_until(lambda: is_idle(process), timeout_s=1)


def is_idle(process: psutil.Process) -> bool:
    """Whether a process computes nothing for a tenth of a second."""
    before = process.cpu_times().user
    time.sleep(0.1)
    return process.cpu_times().user - before < 0.02


def test_errors_are_words_with_their_status(client: ollama.Client) -> None:
    for model, options, status, words in (
        ("org/none", {}, 404, "org/none"),
        (CHAT, {"format": "json"}, 400, "format"),
        (CHAT, {"options": {"temperature": "hot"}}, 400, "temperature"),
    ):
        for streams in (False, True):
            with pytest.raises(ollama.ResponseError, match=words) as failed:
                list(client.chat(model, HELLO, stream=streams, **options))
            assert failed.value.status_code == status
            assert isinstance(failed.value.error, str)


def test_a_failure_in_the_middle_of_a_stream_is_told(client: ollama.Client, server: Server) -> None:
    stream = client.chat(ENDLESS, HELLO, stream=True)
    next(part for part in stream if part.message.content)
    server.process_of(ENDLESS).kill()
    with pytest.raises(ollama.ResponseError, match="was killed from outside"):
        list(stream)


def test_while_a_model_loads_a_client_is_told_how_far_it_is(client: ollama.Client, server: Server) -> None:
    frozen = server.freeze_load(CHAT)
    stream = client.chat(CHAT, HELLO, options=LIKELIEST, stream=True)
    with requests.post(f"{server.url}/api/chat", json={"model": CHAT, "messages": HELLO}, stream=True) as raw:
        told = json.loads(next(raw.iter_lines()))
    first = next(stream)
    frozen.resume()
    assert 0 <= told["load_progress"] <= 100
    assert (told["message"]["content"], told["done"]) == ("", False)
    assert (first.message.content, first.done) == ("", False)
    rest = list(stream)
    assert "".join(part.message.content or "" for part in rest) == STORY
    assert rest[-1].load_duration


def test_embeddings(client: ollama.Client) -> None:
    one = client.embed(ENCODER, "A model.")
    two = client.embed(ENCODER, ["A model.", "Another."])
    short = client.embed(ENCODER, "A model.", dimensions=4)
    old = client.embeddings(ENCODER, "A model.")
    assert [len(found.embeddings) for found in (one, two, short)] == [1, 2, 1]
    assert two.embeddings[0] == pytest.approx(one.embeddings[0], abs=1e-4)
    assert old.embedding == pytest.approx(one.embeddings[0], abs=1e-4)
    assert len(short.embeddings[0]) == 4
    assert sum(number**2 for number in short.embeddings[0]) == pytest.approx(1)
    assert one.prompt_eval_count
    too_long = "a model " * 200  # for 128 tokens
    assert len(client.embed(ENCODER, too_long).embeddings) == 1
    with pytest.raises(ollama.ResponseError, match="128"):
        client.embed(ENCODER, too_long, truncate=False)


def test_models_are_listed_shown_and_seen_in_memory(client: ollama.Client) -> None:
    assert {CHAT, ENDLESS, PLAIN, ENCODER} <= {model.model for model in client.list().models}
    shown = client.show(CHAT)
    assert shown.template is not None
    assert "messages" in shown.template
    assert shown.modelinfo is not None
    assert shown.modelinfo["llama.context_length"] == 8192
    assert shown.capabilities == ["completion"]
    assert client.show(ENCODER).capabilities == ["embedding"]
    assert client.ps().models == []
    assert client.chat(CHAT, []).done_reason == "load"
    (running,) = client.ps().models
    assert (running.model, running.context_length) == (CHAT, 8192)
    assert running.size
    assert running.expires_at is not None


def test_a_model_is_loaded_and_unloaded_by_a_request_for_nothing(
    client: ollama.Client, server: Server
) -> None:
    assert client.generate(CHAT, "").done_reason == "load"
    assert server.snapshot(CHAT)["state"] == "ready"
    assert client.generate(CHAT, "", keep_alive=0).done_reason == "unload"
    assert server.snapshot(CHAT)["state"] == "absent"
    assert client.generate(CHAT, "", keep_alive=0).done_reason == "unload"


def test_a_model_stays_as_long_as_the_last_request_says(client: ollama.Client, server: Server) -> None:
    client.chat(CHAT, HELLO, options={"num_predict": 1}, keep_alive="1h30m")
    wait_until(lambda: 5000 < stays_s(client) < 5400.1)  # told once a second
    client.generate(CHAT, "", keep_alive=-1)
    wait_until(lambda: stays_s(client) > 10**9)
    client.generate(CHAT, "Tell me a story.", options={"num_predict": 1}, keep_alive="200ms")
    wait_until(lambda: server.snapshot(CHAT)["state"] == "absent", timeout_s=10)


def stays_s(client: ollama.Client) -> float:
    """For how long the only model in memory stays there."""
    (running,) = client.ps().models
    assert running.expires_at is not None
    return running.expires_at.timestamp() - time.time()


def test_a_model_is_pulled_and_its_files_deleted(client: ollama.Client, server: Server) -> None:
    told = list(client.pull(ON_HUB, stream=True))
    assert [part.status for part in told][:1] == ["pulling manifest"]
    assert told[-1].status == "success"
    fetched = [part for part in told if part.digest]
    assert all(part.total for part in fetched)
    assert ON_HUB in {model.model for model in client.list().models}
    assert [part.status for part in client.pull(ON_HUB, stream=True)] == ["pulling manifest", "success"]
    assert client.pull(ON_HUB).status == "success"
    with pytest.raises(ollama.ResponseError, match="Unload it first"):
        client.delete(ON_HUB)
    client.generate(ON_HUB, "", keep_alive=0)
    assert client.delete(ON_HUB).status == "success"
    assert ON_HUB not in {model.model for model in client.list().models}
    with pytest.raises(ollama.ResponseError, match="org/nowhere"):
        client.pull("org/nowhere")
