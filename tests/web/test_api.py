"""REST: over HTTP against a real server, or in this process where no model is loaded."""

from __future__ import annotations

import base64
import io
import math
import socket
import threading
from importlib.metadata import version

import psutil
import pytest
import requests
from flask.testing import FlaskClient
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


def test_models_are_listed_with_their_sizes_and_demos_are_marked_as_random(server: Server) -> None:
    models = {model["id"]: model for model in server.get("/api/models").json()["models"]}
    assert {LLAMA, BERT, VIT, SPEECH} <= set(models)
    assert models[LLAMA]["source"] == "folder"
    assert models[LLAMA]["size_bytes"] > 10_000
    assert models["demo/random-2gb"]["random_weights"] is True
    assert models["demo/random-2gb"]["size_bytes"] == pytest.approx(2e9, rel=0.05)
    assert models[LLAMA]["random_weights"] is False


def test_one_model(server: Server) -> None:
    assert server.get(f"/api/models/{LLAMA}").json()["id"] == LLAMA


def test_a_body_that_is_too_large_is_refused_while_it_is_sent(server: Server) -> None:
    response = server.post("/api/predictions", {"model": LLAMA, "inputs": "x" * 17_000_000})
    assert _code(response) == (413, "too_large")


def test_a_model_that_is_not_on_this_machine_fails_in_words_where_the_hub_is_off(
    empty_server: Server,
) -> None:
    failed = empty_server.load("nobody/nothing")
    assert failed["error"]["code"] == "hub_unreachable"
    assert failed["error"]["hint"]
    assert str(empty_server.data_dir) not in str(failed["error"])


def test_predictions_text(empty_server: Server) -> None:
    empty_server.load(LLAMA)
    body = {"model": LLAMA, "inputs": "hello", "parameters": {"max_new_tokens": 3, "do_sample": False}}
    first, second = (empty_server.post("/api/predictions", body) for _ in range(2))
    assert first.status_code == 200, first.text
    prediction = first.json()
    assert (prediction["model"], prediction["task"]) == (LLAMA, "text-generation")
    assert prediction["outputs"] == second.json()["outputs"]
    assert prediction["outputs"][0]["generated_text"].startswith("hello")


def test_predictions_image(empty_server: Server) -> None:
    empty_server.load(VIT)
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), "teal").save(buffer, "PNG")
    image = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    prediction = empty_server.post("/api/predictions", {"model": VIT, "inputs": image}).json()
    assert prediction["task"] == "image-classification"
    assert all(0 <= row["score"] <= 1 for row in prediction["outputs"])
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
    response = empty_server.post("/api/predictions", body)
    assert response.status_code == 200, response.text
    assert isinstance(response.json()["outputs"]["text"], str)


def _predict_with_a_suspended_worker(server: Server) -> tuple[threading.Thread, list[requests.Response]]:
    """Send a prediction to the model's process, which is stopped; the response comes into the list."""
    server.load(LLAMA)
    (worker,) = server.workers()
    worker.suspend()
    responses: list[requests.Response] = []
    body = {"model": LLAMA, "inputs": "x"}
    sender = threading.Thread(target=lambda: responses.append(server.post("/api/predictions", body)))
    sender.start()
    wait_until(lambda: _has_a_connection(server))
    # Green threads take turns: this one runs after that of the prediction, which by then waits.
    assert server.get("/livez").ok
    return sender, responses


def _has_a_connection(server: Server) -> bool:
    connections = psutil.Process(server.pid).net_connections("tcp")
    return any(one.status == psutil.CONN_ESTABLISHED and one.laddr.port == server.port for one in connections)


def test_a_process_that_dies_during_a_prediction_is_an_error_response(empty_server: Server) -> None:
    sender, responses = _predict_with_a_suspended_worker(empty_server)
    (worker,) = empty_server.workers()
    worker.kill()
    sender.join(10)
    assert _code(responses[0]) == (500, "killed")


def test_an_unload_during_a_prediction_is_an_error_response(empty_server: Server) -> None:
    sender, responses = _predict_with_a_suspended_worker(empty_server)
    assert empty_server.delete(f"/api/models/{LLAMA}").ok
    sender.join(10)
    assert _code(responses[0]) == (409, "wrong_state")


def test_the_published_minilm_embeds_similar_sentences_alike(empty_server: Server) -> None:
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
    similar, different = (sum(a * b for a, b in zip(cat, other, strict=True)) for other in (kitten, tax))
    assert similar > different + 0.3


def test_the_document_describes_what_is_served(client: FlaskClient) -> None:
    document = client.get("/openapi.json").json
    assert document is not None
    assert document["openapi"].startswith("3.1")
    assert {"/api/loads", "/api/models/{model_id}", "/api/predictions", "/readyz"} <= set(document["paths"])


def test_figures_and_timelines_are_in_the_document(client: FlaskClient) -> None:
    document = client.get("/openapi.json").json
    assert document is not None
    assert "/api/figures" in document["paths"]
    names = [one["name"] for one in document["paths"]["/api/loads"]["get"]["parameters"]]
    assert {"model", "outcome", "limit", "offset"} <= set(names)
    expected = {"Timeline", "Series", "Stall", "LoadDetail", "ModelStatistics"}
    assert expected <= set(document["components"]["schemas"])


def test_without_a_cluster_the_nodes_are_this_machine_which_cannot_be_drained(empty_server: Server) -> None:
    empty_server.load(LLAMA)
    (node,) = empty_server.get("/api/nodes").json()["nodes"]
    assert (node["name"], node["state"], node["ready"]) == (socket.gethostname(), "ready", [LLAMA])
    assert node["versions"]["torch"] == version("torch")
    assert 0 < node["models"] < node["free"] < node["total"]
    memory = empty_server.get("/api/memory").json()
    assert (memory["room"], memory["total"]) == (memory["free"], node["total"])
    assert empty_server.get(f"/api/models/{LLAMA}").json()["nodes"] == []
    assert _code(empty_server.post(f"/api/nodes/{node['name']}/drain", {})) == (422, "invalid_request")
    assert _code(empty_server.post("/api/nodes/other/drain", {})) == (404, "unknown_node")
    assert empty_server.snapshot(LLAMA)["state"] == "ready"


def test_without_a_cluster_a_model_has_one_copy(empty_server: Server) -> None:
    empty_server.load(LLAMA)
    ready = empty_server.snapshot(LLAMA)
    assert (ready["node"], ready["placement"], ready["replicas"]) == (None, None, [])
    for body in ({}, {"count": 2}):
        assert _code(empty_server.post(f"/api/models/{LLAMA}/replicas", body)) == (409, "no_other_node")
    assert empty_server.post(f"/api/models/{LLAMA}/replicas", {"count": 1}).json()["state"] == "ready"
    for count in (0, -1, "2", 1.5, True):
        refused = empty_server.post(f"/api/models/{LLAMA}/replicas", {"count": count})
        assert _code(refused) == (422, "invalid_request"), count
    assert _code(empty_server.delete(f"/api/models/{LLAMA}/replicas/b")) == (404, "unknown_replica")
    assert _code(empty_server.post(f"/api/models/{BERT}/replicas", {})) == (409, "wrong_state")
    pages = [empty_server.get(path).text for path in ("/", f"/models/{LLAMA}", "/nodes")]
    assert not any('href="/nodes"' in page for page in pages)
    assert not any("Add a copy" in page or "on node" in page for page in pages)
    assert "This server loads all models itself" in pages[2]


def test_probes_of_a_warm_server(server: Server) -> None:
    assert server.get("/livez").json() == {"live": True}
    assert server.get("/readyz").status_code == 200


def test_probes_before_the_workers_are_warm(client: FlaskClient) -> None:
    assert client.get("/livez").json == {"live": True}
    early = client.get("/readyz")
    assert early.json is not None
    assert (early.status_code, early.json["ready"], early.json["workers"]["state"]) == (503, False, "cold")


def test_a_prediction_that_is_not_under_way_cannot_be_stopped(client: FlaskClient) -> None:
    response = client.delete("/api/predictions/gen-none")
    assert response.status_code == 404
    assert response.json["error"]["code"] == "unknown_prediction"
