"""OpenAI's API in this process: errors, access, and pages of other sites."""

from __future__ import annotations

import io
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from modelhub.errors import ModelhubError
from modelhub.states import State
from modelhub.web.current import registry_of
from modelhub.web.dialects.event_stream import loading
from modelhub.web.dialects.openai_errors import error_response
from tests.support.forms import csrf_token
from tests.support.types import MakeApp

DEMO = "demo/random-2gb"
TOKEN, VIEW = "a-token-of-its-own", "a-token-to-watch-with"
OWN = {"Host": "localhost:5000", "Origin": "http://localhost:5000"}
BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:68.0)"}


def _file() -> dict[str, Any]:
    return {"model": DEMO, "file": (io.BytesIO(b"RIFF"), "a.wav")}


# (path, what is sent): addresses that take what a form of any page can send
FORMS: list[tuple[str, dict[str, Any]]] = [
    ("/v1/audio/transcriptions", {"data": _file, "content_type": "multipart/form-data"}),
    ("/reset", {}),
    ("/reset", {"data": lambda: {"a": "b"}}),
    ("/load_model", {"data": lambda: b'{"model": "x"}', "content_type": "text/plain"}),
    ("/v1/chat/completions", {"data": lambda: b'{"model": "x"}', "content_type": "text/plain"}),
]


def _send(client: FlaskClient, path: str, sent: dict[str, Any], headers: dict[str, str]) -> Any:
    made = {name: value() if callable(value) else value for name, value in sent.items()}
    return client.post(path, headers=headers, **made)


@pytest.mark.parametrize(("path", "sent"), FORMS)
@pytest.mark.parametrize(
    "headers",
    [
        {**OWN, "Origin": "http://evil.example"},
        {**OWN, "Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
    ],
)
def test_a_form_of_another_site_is_refused(
    client: FlaskClient, path: str, sent: dict[str, Any], headers: dict[str, str]
) -> None:
    assert _send(client, path, sent, headers).status_code in (400, 403)
    assert client.get("/api/loads").json == {"loads": [], "total": 0, "next": None}


@pytest.mark.parametrize(("path", "sent"), FORMS)
def test_a_browser_that_does_not_say_whose_page_sends_a_form_is_refused(
    client: FlaskClient, path: str, sent: dict[str, Any]
) -> None:
    refused = _send(client, path, sent, BROWSER)
    assert refused.status_code in (403, 415)
    assert refused.status_code == 403 or sent["content_type"] == "text/plain"


@pytest.mark.parametrize(
    "headers", [{}, OWN, {**OWN, **BROWSER}, {"Sec-Fetch-Site": "same-origin", **BROWSER}]
)
def test_programs_and_the_own_pages_send_forms(app: Flask, headers: dict[str, str]) -> None:
    client = app.test_client()
    assert client.post("/reset", headers=headers).json == {"status": "ok"}
    refused = client.post("/v1/audio/transcriptions", data={"model": DEMO}, headers=headers)
    assert refused.json is not None
    assert (refused.status_code, refused.json["error"]["param"]) == (400, "file")


def test_a_session_alone_sends_no_form(make_app: MakeApp) -> None:
    client = make_app(TOKEN=TOKEN, VIEW_TOKEN=VIEW).test_client()
    form = {"csrf_token": csrf_token(client.get("/login").text), "token": TOKEN}
    assert client.post("/login", data=form).status_code == 303
    assert client.post("/reset").status_code == 403
    assert client.post("/reset", headers=OWN).status_code == 200
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert client.post("/reset", headers=bearer).status_code == 200
    assert client.post("/reset", headers={"Authorization": f"Bearer {VIEW}"}).status_code == 403


def test_without_a_token_errors_are_those_of_the_api(make_app: MakeApp) -> None:
    client = make_app(TOKEN=TOKEN, VIEW_TOKEN=VIEW).test_client()
    body = {"model": DEMO, "messages": [{"role": "user", "content": "x"}]}
    for sent in ({}, {"Authorization": "Bearer wrong"}, {"Accept": "text/html"}):
        refused = client.post("/v1/chat/completions", json=body, headers=sent)
        assert refused.json is not None
        error = refused.json["error"]
        assert (refused.status_code, error["code"], error["type"], error["param"]) == (
            *(401, "unauthorized", "authentication_error"),
            None,
        )
        assert refused.headers["x-should-retry"] == "false"
        assert "detail" in (client.post("/reset", headers=sent).json or {})
    watching = {"Authorization": f"Bearer {VIEW}"}
    assert client.get("/v1/models", headers=watching).status_code == 200
    for path in ("/v1/chat/completions", "/v1/embeddings", "/load_model"):
        assert client.post(path, json=body, headers=watching).status_code == 403


def test_a_key_of_elsewhere_is_ignored_where_no_token_is_asked_for(client: FlaskClient) -> None:
    found = client.get("/v1/models", headers={"Authorization": "Bearer sk-of-elsewhere"})
    assert found.json is not None
    assert DEMO in [one["id"] for one in found.json["data"]]


def test_models_are_found_by_ids_with_slashes_and_revisions(client: FlaskClient) -> None:
    for path in (DEMO, DEMO.replace("/", "%2F"), f"{DEMO}@main"):
        found = client.get(f"/v1/models/{path}")
        assert found.json is not None
        assert (found.json["id"], found.json["object"], found.json["state"]) == (DEMO, "model", "absent")
        assert isinstance(found.json["created"], int)
    missing = client.get("/v1/models/nobody/x")
    assert missing.json is not None
    assert (missing.status_code, missing.json["error"]["param"]) == (404, "model")
    assert client.options("/v1/models").status_code == 200


def test_nothing_is_loaded_where_it_may_not_be(make_app: MakeApp) -> None:
    client = make_app(AUTOLOAD="off").test_client()
    body = {"model": DEMO, "messages": [{"role": "user", "content": "x"}]}
    for more in ({}, {"stream": True}):
        refused = client.post("/v1/chat/completions", json={**body, **more})
        assert refused.json is not None
        assert (refused.status_code, refused.json["error"]["code"]) == (409, "wrong_state")
    for path, sent in (("completions", {"prompt": "x"}), ("embeddings", {"input": "x"})):
        assert client.post(f"/v1/{path}", json={"model": DEMO, **sent}).status_code == 409
    sound = client.post("/v1/audio/transcriptions", data=_file(), content_type="multipart/form-data")
    assert sound.status_code == 409


def test_a_body_that_cannot_be_read_is_an_error_of_the_api(client: FlaskClient) -> None:
    kind = "application/json"
    for data, content_type, status in (
        (b"{", kind, 400),
        (b"[]", kind, 400),
        (b"{}", "application/x-www-form-urlencoded", 415),
        (b'{"a": "' + b"x" * 17_000_000 + b'"}', kind, 413),
    ):
        refused = client.post("/v1/chat/completions", data=data, content_type=content_type)
        assert refused.json is not None
        assert (refused.status_code, set(refused.json["error"])) == (
            status,
            {"message", "type", "code", "param"},
        )
    wrong = client.get("/v1/chat/completions")
    assert (wrong.status_code, wrong.headers["x-should-retry"]) == (405, "false")


def test_what_is_worth_another_try_says_when(app: Flask) -> None:
    with app.test_request_context("/v1/models"):
        later = error_response(ModelhubError("too_busy", id="x", waiting=3))
        never = error_response(ModelhubError("hub_unreachable", id="x"))
    assert (later.status_code, later.headers["Retry-After"]) == (503, "10")
    assert "x-should-retry" not in later.headers
    assert (never.status_code, never.headers["x-should-retry"]) == (503, "false")
    assert never.headers["Retry-After"]


def test_a_load_is_told_in_the_words_of_the_pages(app: Flask) -> None:
    snapshot = {**registry_of(app).snapshot(DEMO), "state": State.LOADING, "step": 5, "progress": 0.41}
    known = {**snapshot, "eta": 3.0, "eta_low": 2.9, "eta_high": 3.1}
    assert loading(known) == "loading 41%, about 3 s left"  # type: ignore[arg-type]
    assert loading(snapshot) == "loading 41%, time left not known yet"  # type: ignore[arg-type]
    queued = {**snapshot, "state": State.QUEUED, "queue_position": 3}
    assert loading(queued) == "position 3 in the queue"  # type: ignore[arg-type]
