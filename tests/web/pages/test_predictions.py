"""The try-it box without JavaScript: every kind of form, against real models."""

from __future__ import annotations

import io
import re
import wave
from collections.abc import Iterator

import pytest
import requests
from PIL import Image

from tests.support.server import Server


@pytest.fixture(autouse=True)
def _clean(server: Server) -> Iterator[None]:
    yield
    server.unload_all()


def attempt(
    server: Server, model_id: str, file: tuple[str, bytes, str] | None = None, **fields: str
) -> requests.Response:
    """Fill in the form of the model's page and send it."""
    session = requests.Session()
    page = session.get(f"{server.url}/models/{model_id}", timeout=30).text
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert token is not None
    data = {"csrf_token": token[1], **fields}
    files = {"file": file} if file else None
    return session.post(f"{server.url}/models/{model_id}/try", data=data, files=files, timeout=60)


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), (200, 30, 30)).save(buffer, format="PNG")
    return buffer.getvalue()


def sound() -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(32_000))
    return buffer.getvalue()


def answered(response: requests.Response) -> str:
    return response.text.split('id="result"')[1].split("</section>")[0]


def test_text_is_gone_on_with(server: Server) -> None:
    server.load("tiny/llama")
    answer = attempt(server, "tiny/llama", text="hello <b>")
    assert answer.status_code == 200
    assert "<blockquote>hello &lt;b&gt;" in answered(answer)
    assert ">hello &lt;b&gt;</textarea>" in answer.text, "what was asked is still in the form"


def test_a_mask_is_filled_as_a_table(server: Server) -> None:
    server.load("tiny/bert")
    table = answered(attempt(server, "tiny/bert", text="hello [MASK]"))
    assert '<th scope="col">score</th>' in table
    assert table.count("<tr>") == 6


def test_a_sentence_becomes_numbers(server: Server) -> None:
    server.load("published/minilm")
    told = answered(attempt(server, "published/minilm", text="hello"))
    assert re.search(r"<blockquote>\d+ × 384 numbers, the first -?\d", told)


def test_an_image_is_classified(server: Server) -> None:
    server.load("tiny/vit")
    told = answered(attempt(server, "tiny/vit", ("red.png", picture(), "image/png")))
    for label in ("red", "green", "blue"):
        assert f"<td>{label}</td>" in told


def test_speech_is_recognised(server: Server) -> None:
    server.load("tiny/wav2vec2")
    answer = attempt(server, "tiny/wav2vec2", ("a.wav", sound(), "audio/wav"))
    assert answer.status_code == 200
    assert "<blockquote>" in answered(answer)


def test_what_cannot_be_used_is_told_in_words(server: Server) -> None:
    server.load("tiny/bert")
    answer = attempt(server, "tiny/bert", text="no mask in here")
    assert answer.status_code == 422
    assert "cannot use these inputs" in answered(answer)
    server.load("tiny/vit")
    answer = attempt(server, "tiny/vit", ("a.png", b"no image", "image/png"))
    assert "Send a PNG, JPEG, WebP or GIF image." in answered(answer)
    assert "Send the image" in answered(attempt(server, "tiny/vit"))


def test_a_model_that_is_not_loaded_says_so(server: Server) -> None:
    page = server.get("/models/tiny/bert").text
    assert "Once the model is ready, you can run a prediction here." in page
    answer = attempt(server, "tiny/bert", text="hello [MASK]")
    assert answer.status_code == 409
    assert "Load it first." in answered(answer)
