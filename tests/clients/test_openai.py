"""The official Python client of OpenAI, as it is, against a real server."""

from __future__ import annotations

import io
import math
import struct
import time
import wave
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
import requests

from tests.support.chat_models import STORY, WORDS
from tests.support.clients import ASK, ENCODER, ENDLESS, SPEECH, STORYTELLER, WHISPER, wait_idle
from tests.support.server import Server, wait_until

HELLO: Any = [{"role": "user", "content": ASK}]
STORY_ASKED: Any = {"model": STORYTELLER, "messages": HELLO, "temperature": 0}
ENDLESSLY: Any = {"model": ENDLESS, "messages": HELLO, "temperature": 0, "max_tokens": 8000}


@pytest.fixture
def client(chat_server: Server) -> Iterator[openai.OpenAI]:
    """The client, as a program has it that has a key for elsewhere."""
    with openai.OpenAI(base_url=f"{chat_server.url}/v1", api_key="sk-of-elsewhere") as client:
        yield client


def test_a_conversation(client: openai.OpenAI) -> None:
    first = client.chat.completions.create(**STORY_ASKED)
    answer = first.choices[0]
    assert (answer.message.content, answer.finish_reason) == (STORY, "stop")
    assert first.usage is not None
    assert first.usage.completion_tokens == len(WORDS) + 1
    more: Any = [*HELLO, answer.message, {"role": "user", "content": "Another one, please."}]
    second = client.chat.completions.create(
        model=STORYTELLER, messages=more, temperature=0, max_completion_tokens=4
    )
    answer = second.choices[0]
    assert (answer.message.content, answer.finish_reason) == ("".join(WORDS[:4]), "length")
    assert second.usage is not None
    assert second.usage.prompt_tokens > first.usage.prompt_tokens + first.usage.completion_tokens


def test_a_stream(client: openai.OpenAI) -> None:
    request: Any = {**STORY_ASKED, "stream": True}
    chunks = list(client.chat.completions.create(**request))
    assert [chunk.choices[0].delta.content or "" for chunk in chunks[1:-1]] == list(WORDS)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert {chunk.choices[0].finish_reason for chunk in chunks[:-1]} == {None}
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == len(WORDS) + 1
    more = list(client.chat.completions.create(**request, stream_options={"include_usage": True}))
    assert len(more) == len(chunks) + 1
    assert (more[-1].choices, more[-1].usage) == ([], more[-2].usage)
    assert more[-1].usage.completion_tokens == chunks[-1].usage.completion_tokens
    with client.chat.completions.stream(model=STORYTELLER, messages=HELLO, temperature=0) as events:
        assert events.get_final_completion().choices[0].message.content == STORY


def test_probabilities_and_texts_that_end_an_answer(client: openai.OpenAI) -> None:
    request: Any = {**STORY_ASKED, "logprobs": True, "top_logprobs": 2, "stop": WORDS[3].strip()}
    whole = client.chat.completions.create(**request).choices[0]
    assert (whole.message.content, whole.finish_reason) == ("".join(WORDS[:3]) + " ", "stop")
    assert whole.logprobs is not None
    tokens = whole.logprobs.content or []
    assert [one.token for one in tokens[:3]] == list(WORDS[:3])
    for one in tokens:
        assert len(one.top_logprobs) == 2
        assert one.top_logprobs[0].token == one.token
        assert one.top_logprobs[0].logprob == one.logprob <= 0
        assert bytes(one.bytes or ()).decode() == one.token
    chunks = list(client.chat.completions.create(**request, stream=True))
    streamed = [
        token.token
        for chunk in chunks
        if chunk.choices[0].logprobs is not None
        for token in chunk.choices[0].logprobs.content or ()
    ]
    assert streamed == [one.token for one in tokens]
    old = client.completions.create(model=STORYTELLER, prompt="x", max_tokens=2, logprobs=1, temperature=0)
    logprobs = old.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.tokens == list(WORDS[:2])
    assert logprobs.text_offset == [0, len(WORDS[0])]


def test_several_at_once_have_their_own_answers(client: openai.OpenAI) -> None:
    def ask(most: int) -> str | None:
        answer = client.chat.completions.create(**STORY_ASKED, max_completion_tokens=most)
        return answer.choices[0].message.content

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(ask, range(1, 7)))
    assert answers == ["".join(WORDS[:most]) for most in range(1, 7)]


def test_a_client_that_closes_its_stream_ends_the_work(client: openai.OpenAI, chat_server: Server) -> None:
    with client.chat.completions.create(**ENDLESSLY, stream=True) as stream:
        for _, chunk in zip(range(5), stream, strict=False):
            assert chunk.choices
    wait_idle(chat_server, ENDLESS)


def test_a_client_that_gives_up_waiting_ends_the_work(client: openai.OpenAI, chat_server: Server) -> None:
    list(client.chat.completions.create(**{**ENDLESSLY, "max_tokens": 1}, stream=True))  # it is in memory
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.5, max_retries=0).chat.completions.create(**ENDLESSLY)
    wait_idle(chat_server, ENDLESS)


def test_an_answer_is_ended_by_its_id(client: openai.OpenAI, chat_server: Server) -> None:
    with client.chat.completions.create(**ENDLESSLY, stream=True) as stream:
        first = next(stream)
        assert chat_server.delete(f"/api/predictions/{first.id}").json()["model"] == ENDLESS
        with pytest.raises(openai.APIError, match="stopped"):
            list(stream)
    assert chat_server.delete(f"/api/predictions/{first.id}").status_code == 404
    wait_idle(chat_server, ENDLESS)


def test_errors_name_what_is_wrong_and_are_not_tried_again(client: openai.OpenAI) -> None:
    began = time.monotonic()
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=STORYTELLER, messages=HELLO, n=2)
    assert (refused.value.param, refused.value.code) == ("n", "invalid_request")
    with pytest.raises(openai.NotFoundError) as missing:
        client.models.retrieve("nobody/nothing")
    assert (missing.value.param, missing.value.code) == ("model", "unknown_model")
    with pytest.raises(openai.APIStatusError) as absent:
        client.chat.completions.create(model="nobody/nothing", messages=HELLO)
    assert absent.value.code in ("unknown_model", "hub_unreachable")
    assert time.monotonic() - began < 3, "the client waits before it tries again"


def test_models(client: openai.OpenAI) -> None:
    listed = {model.id: model for model in client.models.list()}
    assert {STORYTELLER, ENDLESS, SPEECH} <= set(listed)
    assert "nobody/nothing" not in listed, "it was only asked for, in other tests"
    one = client.models.retrieve(STORYTELLER)
    assert (one.id, one.object, one.created) == (STORYTELLER, "model", listed[STORYTELLER].created)


def test_a_completion(client: openai.OpenAI) -> None:
    request: Any = {"model": STORYTELLER, "prompt": "One", "temperature": 0, "max_tokens": 3}
    whole = client.completions.create(**request, echo=True)
    assert whole.choices[0].text == "One" + "".join(WORDS[1:4])
    assert whole.choices[0].finish_reason == "length"
    chunks = list(client.completions.create(**request, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == "".join(WORDS[1:4])
    assert chunks[-1].usage == whole.usage
    with pytest.raises(openai.BadRequestError) as refused:
        client.completions.create(**request, suffix="The end.")
    assert refused.value.param == "suffix"


def test_embeddings(client: openai.OpenAI) -> None:
    texts = ["a small boat", "a ship"]
    packed = client.embeddings.create(model=ENCODER, input=texts)  # the client asks for base64
    plain = client.embeddings.create(model=ENCODER, input=texts, encoding_format="float")
    assert [one.index for one in packed.data] == [0, 1]
    for one, other in zip(packed.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
        assert math.hypot(*one.embedding) > 0
    assert packed.usage.prompt_tokens == plain.usage.prompt_tokens > len(texts)
    short = client.embeddings.create(model=ENCODER, input=texts[0], dimensions=8)
    assert len(short.data[0].embedding) == 8
    for ids in ([1, 2], [[1, 2], [3]]):
        with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False"):
            client.embeddings.create(model=ENCODER, input=ids)


def test_a_response(client: openai.OpenAI) -> None:
    whole = client.responses.create(model=STORYTELLER, input=ASK, instructions="Be brief.", temperature=0)
    assert (whole.output_text, whole.status) == (STORY, "completed")
    assert whole.usage is not None
    assert whole.usage.output_tokens == len(WORDS) + 1
    request: Any = {"model": STORYTELLER, "input": HELLO, "temperature": 0, "max_output_tokens": 3}
    events = list(client.responses.create(**request, stream=True))
    kinds = [event.type.removeprefix("response.") for event in events]
    assert kinds == [
        *("created", "in_progress", "output_item.added", "content_part.added"),
        *(["output_text.delta"] * 3),
        *("output_text.done", "content_part.done", "output_item.done", "incomplete"),
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    with client.responses.stream(model=STORYTELLER, input=ASK, temperature=0) as stream:
        assert stream.get_final_response().output_text == STORY
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model=STORYTELLER, input=ASK, previous_response_id="resp_1")
    assert refused.value.param == "previous_response_id"


def _sound(seconds: float) -> tuple[str, bytes]:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        tone = (int(9000 * math.sin(number / 5)) for number in range(int(seconds * 16_000)))
        file.writeframes(b"".join(struct.pack("<h", sample) for sample in tone))
    return "tone.wav", buffer.getvalue()


def test_a_transcription(client: openai.OpenAI) -> None:
    request: Any = {"model": SPEECH, "file": _sound(0.5)}
    text = client.audio.transcriptions.create(**request).text
    assert text
    assert client.audio.transcriptions.create(**request, response_format="text") == f"{text}\n"
    detailed = client.audio.transcriptions.create(
        **request, response_format="verbose_json", timestamp_granularities=["word"], language="en"
    )
    assert (detailed.text, detailed.duration, detailed.language) == (text, 0.5, "en")
    assert detailed.words
    assert 0 <= detailed.words[0].start < detailed.words[-1].end <= 0.51
    events = list(client.audio.transcriptions.create(**request, stream=True))
    assert [event.type for event in events] == ["transcript.text.delta", "transcript.text.done"]
    assert events[-1].text == text
    with pytest.raises(openai.BadRequestError) as refused:
        client.audio.transcriptions.create(**request, response_format="srt")
    assert refused.value.param == "response_format"
    with pytest.raises(openai.BadRequestError):
        client.audio.transcriptions.create(model=SPEECH, file=("tone.wav", b"no sound"))


def test_whisper_tells_when_what_was_said_in_a_language(client: openai.OpenAI) -> None:
    request: Any = {"model": WHISPER, "file": _sound(2.0), "response_format": "verbose_json"}
    said = client.audio.transcriptions.create(**request, language="de")
    assert said.language == "de"
    assert said.duration == 2.0
    assert said.segments
    assert len(said.segments) > 1
    assert "".join(segment.text for segment in said.segments).strip() == said.text.strip()
    assert all(segment.start <= segment.end for segment in said.segments)
    by_word = client.audio.transcriptions.create(**request, timestamp_granularities=["word"])
    assert by_word.words
    assert all(word.start <= word.end for word in by_word.words)
    with pytest.raises(openai.BadRequestError) as refused:
        client.audio.transcriptions.create(**request, language="xx")
    assert "xx" in str(refused.value)


def test_a_model_is_loaded_for_a_request_which_is_told_how_that_goes(
    client: openai.OpenAI, chat_server: Server
) -> None:
    chat_server.unload_all()
    frozen = chat_server.freeze_load(STORYTELLER)
    url, request = f"{chat_server.url}/v1/chat/completions", {**STORY_ASKED, "stream": True}
    with requests.post(url, json=request, stream=True, timeout=30) as response:
        lines = response.iter_lines(decode_unicode=True)
        first = next(lines)
        frozen.resume()
        rest = [line for line in lines if line]
    assert first.startswith(": loading ")
    assert first.endswith((" left", " yet"))
    assert rest[-1] == "data: [DONE]"
    assert all(line.startswith((": ", "data: ")) for line in rest)
    chat_server.unload_all()
    chunks = list(client.chat.completions.create(**request))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == STORY


def test_a_request_without_a_model_has_the_only_one_in_memory(chat_server: Server) -> None:
    chat_server.unload_all()
    body = {"messages": HELLO, "generation_config": '{"max_new_tokens": 2, "do_sample": false}'}
    refused = chat_server.post("/v1/chat/completions", body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "model")
    chat_server.load(STORYTELLER)
    answer = chat_server.post("/v1/chat/completions", body).json()
    assert (answer["model"], answer["usage"]["completion_tokens"]) == (STORYTELLER, 2)
    assert answer["choices"][0]["message"]["content"] == "".join(WORDS[:2])


def test_a_model_leaves_as_a_request_says(client: openai.OpenAI, chat_server: Server) -> None:
    at_once: Any = {"extra_body": {"keep_alive": 0}}
    client.chat.completions.create(model=STORYTELLER, messages=HELLO, max_tokens=1, **at_once)
    ships = ["a ship"] * 33  # more than go to the model at once: it stays for all of them
    assert len(client.embeddings.create(model=ENCODER, input=ships, **at_once).data) == len(ships)
    client.audio.transcriptions.create(model=SPEECH, file=_sound(0.1), **at_once)
    for model_id in (STORYTELLER, ENCODER, SPEECH):
        wait_until(lambda model_id=model_id: chat_server.snapshot(model_id)["state"] == "absent", 10)
