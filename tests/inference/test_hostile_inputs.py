"""Inputs that name an address or a file, wherever transformers looks: nothing is fetched or opened."""

from __future__ import annotations

import http.server
import io
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from modelhub.errors import ModelhubError
from modelhub.inference.pipelines import Predictor
from modelhub.tasks import TASKS
from tests.support.loads import run, spec_for
from tests.support.task_models import TASK_MODELS

TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: "
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for c in m['content'] %}{% if c['type'] == 'text' %}{{ c['text'] }}{% endif %}{% endfor %}"
    "{% endif %}\n{% endfor %}"
)
KINDS = (
    "image",
    "image_url",
    "video",
    "video_url",
    "audio",
    "audio_url",
    "input_audio",
    "input_image",
    "file",
)
KEYS = ("url", "path", "image", "image_url", "video", "audio", "base64", "video_url", "audio_url", "images")


class Trap:
    """A server that counts requests, a picture in a file, and a FIFO that would block whoever opens it."""

    def __init__(self, folder: Path, port: int, requests: list[str]) -> None:
        self.requests = requests
        self.picture = folder / "secret.png"
        Image.new("RGB", (64, 64), "red").save(self.picture)
        self.fifo = folder / "pipe.png"
        os.mkfifo(self.fifo)
        self.addresses = [
            f"http://127.0.0.1:{port}/x.png",
            str(self.picture),
            f"file://{self.picture}",
            str(self.fifo),
        ]


@pytest.fixture(scope="module")
def trap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trap]:
    requests: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            buffer = io.BytesIO()
            Image.new("RGB", (64, 64), "red").save(buffer, "PNG")
            self.send_response(200)
            self.end_headers()
            self.wfile.write(buffer.getvalue())

        do_HEAD = do_GET

        def log_message(self, *_: Any) -> None:
            """Write nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Trap(tmp_path_factory.mktemp("trap"), server.server_port, requests)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def predictors(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Predictor]:
    folder = tmp_path_factory.mktemp("models")
    made: dict[str, Predictor] = {}

    def load(task: str) -> Predictor:
        if task not in made:
            name = "qwen2-vl" if task == "image-text-to-text" else next(iter(TASK_MODELS[task]))
            TASK_MODELS[task][name](folder / "tiny" / name)
            made[task] = Predictor(run(spec_for(f"tiny/{name}", folder))[1])
            if task == "text-generation":
                made[task].loaded.processor.chat_template = TEMPLATE
        return made[task]

    return load


def _contents(address: str) -> Iterator[Any]:
    """Content of a message that names an address."""
    for kind in KINDS:
        for key in KEYS:
            yield [{"type": kind, key: address}]
        yield [{"type": kind, kind: address}]
        yield [{"type": kind, kind: {"url": address}}]
    yield [{"type": "text", "text": "hi", "image": address}]
    yield [{"type": "text", "text": "hi", "path": address}]
    yield [[{"type": "image", "url": address}]]
    yield {"type": "image", "url": address}
    yield [{"image": address}]


@pytest.mark.parametrize("task", ["text-generation", "image-text-to-text"])
def test_nothing_in_a_chat_is_fetched_or_opened(
    predictors: Callable[[str], Predictor], trap: Trap, task: str
) -> None:
    predictor = predictors(task)
    for address in trap.addresses:
        chats = [[{"role": "user", "content": content}] for content in _contents(address)]
        chats += [
            [{"role": "user", "content": "hi", key: address}] for key in ("image", "images", "video", "audio")
        ]
        for chat in chats:
            for inputs in (chat, [chat]):
                with pytest.raises(ModelhubError) as caught:
                    predictor.predict(inputs, {"max_new_tokens": 1})
                assert caught.value.code == "bad_inputs", inputs
                assert caught.value.hint
                assert str(trap.picture.parent) not in caught.value.message
    assert trap.requests == []


@pytest.mark.parametrize("task", sorted(set(TASK_MODELS) - {"text-to-audio"}))
def test_an_address_in_place_of_an_input_of_any_task_is_never_followed(
    predictors: Callable[[str], Predictor], trap: Trap, task: str
) -> None:
    predictor = predictors(task)
    text = json.dumps(TASKS[task].example)
    is_media = "data:" in text
    for address in trap.addresses:
        for key in KEYS:
            _expect_refusal(predictor, {key: address})
            _expect_refusal(predictor, {"text": {key: address}})
            _expect_refusal(predictor, [{key: address}])
        if is_media:
            _expect_refusal(predictor, _replaced(TASKS[task].example, address))
            _expect_refusal(predictor, address)
            _expect_refusal(predictor, [address])
    assert trap.requests == []


def _expect_refusal(predictor: Predictor, inputs: Any) -> None:
    with pytest.raises(ModelhubError) as caught:
        predictor.predict(inputs, {})
    assert caught.value.code == "bad_inputs", inputs


def _replaced(value: Any, address: str) -> Any:
    """An example with the address in the place of its images and sounds."""
    if isinstance(value, str):
        return address if value.startswith("data:") else value
    if isinstance(value, dict):
        return {name: _replaced(one, address) for name, one in value.items()}
    return [_replaced(one, address) for one in value] if isinstance(value, list) else value


def test_chats_of_text_have_an_answer(predictors: Callable[[str], Predictor]) -> None:
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hello"}]},
    ]
    predictor = predictors("text-generation")
    (answer,) = predictor.predict(chat, {"max_new_tokens": 2})
    assert [message["role"] for message in answer["generated_text"]] == ["system", "user", "assistant"]
    assert len(predictor.predict([chat, chat], {"max_new_tokens": 2})) == 2
    (text,) = predictor.predict(chat, {"max_new_tokens": 2, "return_full_text": False})
    assert isinstance(text["generated_text"], str)


@pytest.mark.parametrize(
    "inputs",
    [
        {"text": "a", "text_pair": "b", "padding": "max_length", "max_length": 10**9},
        [{"text": "a", "truncation": True}],
        {"text": ["a"] * 10},
        [["a", "b"]],
        "\ud800",
    ],
    ids=str,
)
def test_no_field_of_an_input_reaches_the_tokenizer_unnamed(
    predictors: Callable[[str], Predictor], inputs: Any
) -> None:
    _expect_refusal(predictors("text-classification"), inputs)


@pytest.mark.parametrize(
    "boxes",
    [
        [["Total", [10**9, 0, 0, 0]]],
        [["Total", [0, 0, 0]]],
        [["Total"]],
        [[7, [0, 0, 0, 0]]],
        "text",
        [],
        [["a", [0, 0, 1, True]]],
        [["a", [1, 1, 2, 2]]] * 10_001,
    ],
    ids=lambda boxes: str(boxes)[:30],
)
def test_words_of_a_document_have_a_place_on_it(predictors: Callable[[str], Predictor], boxes: Any) -> None:
    example = TASKS["document-question-answering"].example
    _expect_refusal(predictors("document-question-answering"), {**example, "word_boxes": boxes})
