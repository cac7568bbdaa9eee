"""REST, over HTTP, against a real server."""

from __future__ import annotations

import base64
import io
import math
import threading

import pytest
import requests
from PIL import Image

from tests.support.ids import BERT, LLAMA, SPEECH, VIT
from tests.support.server import Server, wait_until


def _code(response: requests.Response) -> tuple[int, str]:
    error = response.json()["error"]
    assert error["message"]
    assert error["hint"]
    return response.status_code, error["code"]


def test_a_load_is_accepted_followed_and_listed(empty_server: Server) -> None:
    accepted = empty_server.post("/api/loads", {"model": BERT})
    assert accepted.status_code == 202
    load = accepted.json()
    assert (load["model_id"], load["by"]) == (BERT, "rest")
    empty_server.wait_state(BERT, ("ready",))
    again = empty_server.get(f"/api/loads/{load['load_id']}").json()
    assert (again["state"], again["snapshot"]["state"], again["device"]) == ("ready", "ready", "cpu")
    assert again["requested_at"] <= again["started_at"] <= again["ended_at"]
    listed = empty_server.get("/api/loads", params={"model": BERT, "limit": 1}).json()["loads"]
    assert [row["load_id"] for row in listed] == [load["load_id"]]


def test_models_are_listed_with_their_sizes_and_the_demos_say_what_they_are(server: Server) -> None:
    models = {model["id"]: model for model in server.get("/api/models").json()["models"]}
    assert {LLAMA, BERT, VIT, SPEECH} <= set(models)
    assert models[LLAMA]["source"] == "folder"
    assert models[LLAMA]["size_bytes"] > 10_000
    assert models["demo/random-2gb"]["random_weights"] is True
    assert models["demo/random-2gb"]["size_bytes"] == pytest.approx(2e9, rel=0.05)
    assert models[LLAMA]["random_weights"] is False


def test_one_model(server: Server) -> None:
    assert server.get(f"/api/models/{LLAMA}").json()["id"] == LLAMA
    assert _code(server.get("/api/models/nobody/never-asked-for")) == (404, "unknown_model")
    assert _code(server.get("/api/models/no..thing")) == (422, "invalid_id")


@pytest.mark.parametrize(
    "body", [{}, {"model": 7}, {"model": LLAMA, "colour": 1}, [], "text", {"model": LLAMA, "force": "maybe"}]
)
def test_a_request_that_is_not_valid_is_told_why(server: Server, body: object) -> None:
    assert _code(server.post("/api/loads", body)) == (422, "invalid_request")


@pytest.mark.parametrize("model_id", ["../etc", "a b", "", "org/name/more", "x" * 300, "org/<b>"])
def test_an_id_that_cannot_be_one(server: Server, model_id: str) -> None:
    assert _code(server.post("/api/loads", {"model": model_id})) == (422, "invalid_id")


def test_failures_have_one_shape(server: Server) -> None:
    assert _code(server.get("/api/loads/none")) == (404, "unknown_load")
    assert _code(server.delete("/api/loads/none")) == (404, "unknown_load")
    assert _code(server.get("/api/nothing")) == (404, "not_found")
    assert _code(requests.put(f"{server.url}/api/loads", timeout=5)) == (405, "method_not_allowed")
    assert _code(server.get("/api/loads", params={"limit": 0})) == (422, "invalid_request")
    broken = requests.post(
        f"{server.url}/api/loads", data="{", headers={"Content-Type": "application/json"}, timeout=5
    )
    assert _code(broken) == (400, "invalid_request")
    large = requests.post(
        f"{server.url}/api/predictions", json={"model": LLAMA, "inputs": "x" * 17_000_000}, timeout=30
    )
    assert _code(large) == (413, "too_large")


def test_a_form_of_another_site_starts_nothing(server: Server) -> None:
    answer = requests.post(f"{server.url}/api/loads", data={"model": VIT}, timeout=5)
    assert answer.status_code == 422
    assert server.snapshot(VIT)["state"] not in ("queued", "loading")


def test_what_is_nowhere_fails_in_words(empty_server: Server) -> None:
    failed = empty_server.load("nobody/nothing")
    assert failed["error"]["code"] in ("unknown_model", "hub_unreachable")
    assert str(empty_server.data_dir) not in str(failed["error"])


def test_predictions_text(empty_server: Server) -> None:
    empty_server.load(LLAMA)
    body = {"model": LLAMA, "inputs": "hello", "parameters": {"max_new_tokens": 3, "do_sample": False}}
    first, second = (empty_server.post("/api/predictions", body) for _ in range(2))
    assert first.status_code == 200, first.text
    answer = first.json()
    assert (answer["model"], answer["task"]) == (LLAMA, "text-generation")
    assert answer["outputs"] == second.json()["outputs"]
    assert answer["outputs"][0]["generated_text"].startswith("hello")


def test_predictions_image(empty_server: Server) -> None:
    empty_server.load(VIT)
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), "teal").save(buffer, "PNG")
    image = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    answer = empty_server.post("/api/predictions", {"model": VIT, "inputs": image}).json()
    assert answer["task"] == "image-classification"
    assert all(0 <= row["score"] <= 1 for row in answer["outputs"])
    for wrong in ("http://127.0.0.1/x.png", "/etc/passwd", "data:image/png;base64,AAAA"):
        assert _code(empty_server.post("/api/predictions", {"model": VIT, "inputs": wrong})) == (
            422,
            "bad_inputs",
        )
    assert empty_server.snapshot(VIT)["state"] == "ready"


def test_predictions_speech(empty_server: Server) -> None:
    empty_server.load(SPEECH)
    tone = [math.sin(n / 5) for n in range(8000)]
    body = {"model": SPEECH, "inputs": {"raw": tone, "sampling_rate": 16000}}
    answer = empty_server.post("/api/predictions", body)
    assert answer.status_code == 200, answer.text
    assert isinstance(answer.json()["outputs"]["text"], str)


def test_predictions_need_a_model_in_memory(empty_server: Server) -> None:
    assert _code(empty_server.post("/api/predictions", {"model": LLAMA, "inputs": "x"})) == (
        409,
        "wrong_state",
    )
    assert _code(empty_server.post("/api/predictions", {"model": "nobody/x", "inputs": "x"})) == (
        404,
        "unknown_model",
    )


def test_a_process_that_dies_under_a_prediction_is_an_answer(empty_server: Server) -> None:
    empty_server.load(LLAMA)
    (worker,) = empty_server.workers()
    worker.suspend()
    box: list[requests.Response] = []
    asking = threading.Thread(
        target=lambda: box.append(empty_server.post("/api/predictions", {"model": LLAMA, "inputs": "x"}))
    )
    asking.start()
    wait_until(lambda: empty_server.get("/livez").ok)
    worker.kill()
    asking.join(10)
    assert _code(box[0]) == (500, "killed")


def test_an_unload_under_a_prediction_is_said_as_such(empty_server: Server) -> None:
    empty_server.load(LLAMA)
    (worker,) = empty_server.workers()
    worker.suspend()
    box: list[requests.Response] = []
    body = {"model": LLAMA, "inputs": "x"}
    asking = threading.Thread(target=lambda: box.append(empty_server.post("/api/predictions", body)))
    asking.start()
    wait_until(lambda: empty_server.get("/livez").ok)
    assert empty_server.delete(f"/api/models/{LLAMA}").ok
    asking.join(10)
    assert _code(box[0]) == (409, "wrong_state")


def test_the_published_minilm_knows_what_is_alike(empty_server: Server) -> None:
    ready = empty_server.load("published/minilm")
    assert ready["state"] == "ready", ready["error"]
    assert ready["architecture"] == "BertModel"

    def embed(sentence: str) -> list[float]:
        body = {"model": "published/minilm", "inputs": sentence}
        tokens = empty_server.post("/api/predictions", body).json()["outputs"][0]
        mean = [sum(column) / len(tokens) for column in zip(*tokens, strict=True)]
        length = math.sqrt(sum(value * value for value in mean))
        return [value / length for value in mean]

    cat, kitten, tax = map(
        embed, ("A cat sleeps on the sofa.", "A kitten naps on the couch.", "The tax form is due.")
    )
    alike, unlike = (sum(a * b for a, b in zip(cat, other, strict=True)) for other in (kitten, tax))
    assert alike > unlike + 0.3


def test_the_document_describes_what_is_served(server: Server) -> None:
    document = server.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert {"/api/loads", "/api/models/{model_id}", "/api/predictions", "/readyz"} <= set(document["paths"])


def test_probes(server: Server) -> None:
    assert server.get("/livez").json() == {"live": True}
    assert server.get("/readyz").status_code == 200
