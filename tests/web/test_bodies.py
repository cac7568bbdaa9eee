"""Bodies of requests: what is too large, too deep or too much is refused before it takes time."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from flask.testing import FlaskClient

from modelhub.errors import ModelhubError
from modelhub.web.bodies import read_json

DEMO = "demo/random-2gb"


def refused(
    client: FlaskClient, path: str, body: bytes, kind: str = "application/json"
) -> tuple[int, str, float]:
    """The status and code of the refusal of a body, and the milliseconds that it took."""
    began = time.perf_counter()
    response = client.post(path, data=body, content_type=kind, headers={"Accept": "application/json"})
    took_ms = 1000 * (time.perf_counter() - began)
    assert response.json is not None
    assert len(response.data) < 1000
    return response.status_code, response.json["error"]["code"], took_ms


LARGE = {
    "a million keys": json.dumps(dict.fromkeys(map(str, range(10**6)))).encode(),
    "a long id": json.dumps({"model": "x" * 15_000_000}).encode(),
    "as many keys as fit": b'{"' + b'":1,"'.join(b"%d" % number for number in range(6000)) + b'":1}',
    "many values": json.dumps({"model": DEMO, "replaces": ["x"] * 10_000}).encode(),
}


@pytest.mark.parametrize("body", LARGE.values(), ids=LARGE)
@pytest.mark.parametrize("path", ["/api/loads", "/api/predictions"])
def test_a_body_that_is_too_large_takes_no_time(client: FlaskClient, path: str, body: bytes) -> None:
    client.get("/livez")
    status, code, took_ms = refused(client, path, body)
    assert (status, code) in ((413, "too_large"), (422, "invalid_request"), (422, "invalid_id"))
    assert path == "/api/predictions" or status == 413
    assert took_ms < 500  # before: up to 5 s


def test_a_prediction_may_be_large_and_its_parameters_are_few(client: FlaskClient) -> None:
    large = json.dumps({"model": DEMO, "inputs": "x" * 15_000_000}).encode()
    assert refused(client, "/api/predictions", large)[:2] == (409, "wrong_state")  # it is not in memory
    values = json.dumps({"model": DEMO, "inputs": [0.5] * 99_000}).encode()
    assert refused(client, "/api/predictions", values)[:2] == (409, "wrong_state")
    parameters = dict.fromkeys(map(str, range(2000)))
    many = json.dumps({"model": DEMO, "inputs": "x", "parameters": parameters}).encode()
    assert refused(client, "/api/predictions", many)[:2] == (413, "too_large")


@pytest.mark.parametrize("path", ["/loads", f"/models/{DEMO}/try"])
def test_a_form_of_many_fields_is_refused(client: FlaskClient, path: str) -> None:
    status, code, took_ms = refused(client, path, b"a&" * 30_000, "application/x-www-form-urlencoded")
    assert (status, code) == (413, "too_large")
    assert took_ms < 500


NOT_READABLE = {
    "deep": b"[" * 50_000 + b"]" * 50_000,
    "deep objects": b'{"a":' * 900 + b"1" + b"}" * 900,
    "deep within": b'{"model": "a", "device": ' + b"[" * 100 + b"]" * 100 + b"}",
    "digits": b'{"model": ' + b"9" * 5000 + b"}",
    "not a number": b'{"model": NaN}',
    "no UTF-8": b'{"model": "\xff"}',
    "cut": b'{"model": ',
}


@pytest.mark.parametrize("body", NOT_READABLE.values(), ids=NOT_READABLE)
@pytest.mark.parametrize("path", ["/api/loads", "/api/predictions"])
def test_what_cannot_be_read_as_json_is_refused(client: FlaskClient, path: str, body: bytes) -> None:
    status, code, _ = refused(client, path, body)
    assert (status, code) in ((400, "invalid_request"), (413, "too_large"))


@pytest.mark.parametrize("query", ["9" * 5000, "-" + "9" * 5000, "1" + "_1" * 100, "٣" * 400])
@pytest.mark.parametrize("name", ["limit", "offset"])
def test_a_number_of_many_digits_in_a_query_is_refused(client: FlaskClient, name: str, query: str) -> None:
    response = client.get(f"/api/loads?{name}={query}")
    assert (response.status_code, len(response.data) < 1000) == (422, True)


@pytest.mark.parametrize("value", [0, 1, "true", "on", "0", None, []])
@pytest.mark.parametrize("name", ["force", "retry"])
def test_a_boolean_is_true_or_false(client: FlaskClient, name: str, value: Any) -> None:
    status, code, _ = refused(client, "/api/loads", json.dumps({"model": "no..id", name: value}).encode())
    assert (status, code) == (422, "invalid_request")


def test_depth_is_counted_not_guessed() -> None:
    wide = {"inputs": [[1] for _ in range(200)]}
    assert read_json(json.dumps(wide).encode(), 1000) == wide
    deepest: Any = 1
    for _ in range(64):
        deepest = [deepest]
    assert read_json(json.dumps([deepest[0], []]).encode(), 1000)
    with pytest.raises(ModelhubError, match="nested"):
        read_json(json.dumps([deepest]).encode(), 1000)
