"""Failures: one shape in JSON below /api and for scripts, a page in words for people."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

DEMO = "demo/random-2gb"


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "code"),
    [
        ("GET", "/api/loads/none", {}, 404, "unknown_load"),
        ("DELETE", "/api/loads/none", {}, 404, "unknown_load"),
        ("GET", "/api/loads/none/events", {}, 404, "unknown_load"),
        ("GET", "/api/nothing", {}, 404, "not_found"),
        ("PUT", "/api/loads", {}, 405, "method_not_allowed"),
        ("GET", "/api/loads?limit=0", {}, 422, "invalid_request"),
        ("GET", "/api/loads?outcome=splendid", {}, 422, "invalid_request"),
        ("POST", "/api/loads", {"data": "{", "content_type": "application/json"}, 400, "invalid_request"),
        ("POST", "/api/predictions", {"json": {"inputs": "x" * 17_000_000}}, 413, "too_large"),
        ("POST", "/api/predictions", {"json": {"model": DEMO, "inputs": "x"}}, 409, "wrong_state"),
        ("POST", "/api/predictions", {"json": {"model": "nobody/x", "inputs": "x"}}, 404, "unknown_model"),
        ("DELETE", f"/api/models/{DEMO}", {}, 409, "wrong_state"),
        ("GET", "/api/models/nobody/never-requested", {}, 404, "unknown_model"),
        ("GET", "/api/models/no..thing", {}, 422, "invalid_id"),
    ],
)
def test_failures_of_the_api_have_one_shape(
    client: FlaskClient, method: str, path: str, options: dict[str, Any], status: int, code: str
) -> None:
    response = client.open(path, method=method, **options)
    assert response.json is not None
    (error,) = response.json.values()
    assert (response.status_code, error["code"]) == (status, code)
    assert error["message"]
    assert error["hint"]


@pytest.mark.parametrize(
    "body", [{}, {"model": 7}, {"model": DEMO, "colour": 1}, [], "text", {"model": DEMO, "force": "maybe"}]
)
def test_a_request_that_is_not_valid_is_refused_with_the_reason(client: FlaskClient, body: object) -> None:
    response = client.post("/api/loads", json=body)
    assert response.json is not None
    assert (response.status_code, response.json["error"]["code"]) == (422, "invalid_request")


@pytest.mark.parametrize("model_id", ["../etc", "a b", "", "org/name/more", "x" * 300, "org/<b>"])
def test_what_cannot_be_an_id_is_refused(client: FlaskClient, model_id: str) -> None:
    response = client.post("/api/loads", json={"model": model_id})
    assert response.json is not None
    assert (response.status_code, response.json["error"]["code"]) == (422, "invalid_id")


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/nowhere", 404, "Address not found."),
        ("/loads/0000", 404, "Load 0000 not found."),
        ("/history?outcome=splendid", 422, "outcome is one of completed"),
    ],
)
def test_failures_elsewhere_are_pages_in_words(
    client: FlaskClient, path: str, status: int, text: str
) -> None:
    response = client.get(path)
    assert (response.status_code, response.mimetype) == (status, "text/html")
    assert text in response.text


def test_a_script_gets_failures_as_json(client: FlaskClient) -> None:
    response = client.post("/loads", data={"model": DEMO}, headers={"Accept": "application/json"})
    assert response.json is not None
    assert response.json["error"]["code"] == "form_expired"
