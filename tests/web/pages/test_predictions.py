"""The try-it box without JavaScript: every kind of form, against real models."""

from __future__ import annotations

import io
import re
import wave
from pathlib import Path

import requests
from PIL import Image

from tests.support import task_models
from tests.support.forms import csrf_token
from tests.support.server import Server
from tests.support.types import StartServer


def attempt(
    server: Server, model_id: str, file: tuple[str, bytes, str] | None = None, **fields: str
) -> requests.Response:
    """Fill in the form of the model's page and send it."""
    session = requests.Session()
    page = session.get(f"{server.url}/models/{model_id}", timeout=30).text
    data = {"csrf_token": csrf_token(page), **fields}
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


def result_of(response: requests.Response) -> str:
    return response.text.split('id="result"')[1].split("</section>")[0]


def test_text_is_continued(server: Server) -> None:
    server.load("tiny/llama")
    response = attempt(server, "tiny/llama", text="hello <b>")
    assert response.status_code == 200
    assert "<blockquote>hello &lt;b&gt;" in result_of(response)
    assert ">hello &lt;b&gt;</textarea>" in response.text, "the text is still in the form"


def test_a_mask_is_filled_as_a_table(server: Server) -> None:
    server.load("tiny/bert")
    table = result_of(attempt(server, "tiny/bert", text="hello [MASK]"))
    assert '<th scope="col">score</th>' in table
    assert table.count("<tr>") == 6


def test_a_sentence_is_embedded(server: Server) -> None:
    server.load("published/minilm")
    result = result_of(attempt(server, "published/minilm", text="hello"))
    assert re.search(r"<blockquote>\d+ × 384 numbers, the first -?\d", result)


def test_an_image_is_classified(server: Server) -> None:
    server.load("tiny/vit")
    result = result_of(attempt(server, "tiny/vit", ("red.png", picture(), "image/png")))
    for label in ("red", "green", "blue"):
        assert f"<td>{label}</td>" in result


def test_speech_is_recognised(server: Server) -> None:
    server.load("tiny/wav2vec2")
    response = attempt(server, "tiny/wav2vec2", ("a.wav", sound(), "audio/wav"))
    assert response.status_code == 200
    assert "<blockquote>" in result_of(response)


def test_unusable_inputs_are_refused_with_a_message(server: Server) -> None:
    server.load("tiny/bert")
    response = attempt(server, "tiny/bert", text="no mask in here")
    assert response.status_code == 422
    assert "cannot use these inputs" in result_of(response)
    server.load("tiny/vit")
    response = attempt(server, "tiny/vit", ("a.png", b"no image", "image/png"))
    assert "Send a PNG, JPEG, WebP or GIF image." in result_of(response)
    assert "Send inputs such as" in result_of(attempt(server, "tiny/vit"))


def test_a_prediction_of_a_model_that_is_not_loaded_is_refused(server: Server) -> None:
    page = server.get("/models/tiny/bert").text
    assert "Once the model is ready, you can run a prediction here." in page
    response = attempt(server, "tiny/bert", text="hello [MASK]")
    assert response.status_code == 409
    assert "Load it first." in result_of(response)


def test_forms_of_images_with_questions_and_of_speech(start_server: StartServer, tmp_path: Path) -> None:
    makers = {
        name: make for all_of_task in task_models.TASK_MODELS.values() for name, make in all_of_task.items()
    }
    names = ("blip", "qwen2-vl", "speecht5", "bert-answers", "superglue")
    for name in names:
        makers[name](tmp_path / "models" / "tiny" / name)
    server = start_server(MODELS_DIR=tmp_path / "models").wait_warm()
    for name in names:
        server.load(f"tiny/{name}")
    image = ("red.png", picture(), "image/png")
    for name in ("blip", "qwen2-vl"):
        response = attempt(server, f"tiny/{name}", image, second="what is this?")
        assert response.status_code == 200, result_of(response)
        assert "<blockquote>" in result_of(response)
        assert "base64" not in result_of(response)
        assert attempt(server, f"tiny/{name}", image, second="").status_code == 200
    assert "videos are left out" in server.get("/models/tiny/qwen2-vl").text
    spoken = result_of(attempt(server, "tiny/speecht5", text="Hello."))
    assert '<audio controls src="data:audio/wav;base64,' in spoken
    found = attempt(server, "tiny/bert-answers", text="the cat sat", second="who sat?")
    assert "<blockquote>" in result_of(found)
    page = server.get("/models/tiny/superglue").text
    assert page.count('name="file"') == 2
    assert 'href="/docs#task-keypoint-matching"' in page
    missing = attempt(server, "tiny/superglue", image)
    assert missing.status_code == 422
    assert "two images" in result_of(missing)
