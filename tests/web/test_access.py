"""Tokens: what is refused without one, what the view token allows, and when access ends."""

from __future__ import annotations

import base64
import json
import logging
import shutil
import time
from collections import defaultdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from flask.testing import FlaskClient

from modelhub.tokens import Tokens
from modelhub.web.access import PUBLIC, access_of
from modelhub.web.current import registry_of
from tests.support.forms import csrf_token
from tests.support.types import MakeApp

TOKEN, VIEW, WRONG = "a-token-of-its-own", "a-token-to-watch-with", "a-token-of-another"
MODEL = "demo/random-2gb"
PUBLIC_NOW = {"static", "api.livez", "login.login"}
PROBE = ("HEAD", "/")  # tests/web/test_probe.py
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def locked(make_app: MakeApp) -> Flask:
    """An application that asks for tokens."""
    return make_app(TOKEN=TOKEN, VIEW_TOKEN=VIEW)


def bearer(token: str) -> dict[str, str]:
    """The header of a program."""
    return {"Authorization": f"Bearer {token}"}


def log_in(client: FlaskClient, token: str, path: str = "/login") -> Any:
    """Send the form of the login page; returns the response."""
    form = {"csrf_token": csrf_token(client.get(path).text), "token": token}
    return client.post(path, data=form)


def _addresses(app: Flask) -> list[tuple[str, str, str]]:
    """Every endpoint with each of its methods, and an address of it."""
    found = []
    for rule in app.url_map.iter_rules():
        path = rule.rule
        for name in rule.arguments:
            path = path.replace(f"<path:{name}>", MODEL).replace(f"<{name}>", "none")
        found += [(rule.endpoint, method, path) for method in sorted(rule.methods or ())]
    return found


def test_without_a_token_every_route_but_the_public_ones_is_refused(locked: Flask) -> None:
    client = locked.test_client()
    addresses = _addresses(locked)
    assert PUBLIC == PUBLIC_NOW, "a route is public: is it meant to be?"
    assert {endpoint for endpoint, _, _ in addresses} > PUBLIC
    for sent in ({}, bearer(""), {"Authorization": "Basic eDp5"}, {"Cookie": "modelhub_5000=x.y.z"}):
        answers = defaultdict[str, set[tuple[str, str]]](set)
        for endpoint, method, path in addresses:
            if endpoint not in PUBLIC and (method, path) != PROBE:
                response = client.open(path, method=method, headers=sent)
                assert response.status_code == 401, (method, path)
                body = "" if method == "HEAD" else response.text
                answers[_api(locked, path)].add((body, str(response.headers)))
        assert {"", "/v1"} <= set(answers)
        for of_api in answers.values():
            (body,) = {body for body, _ in of_api} - {""}
            assert "This server asks for a token" in json.dumps(json.loads(body))
            (headers,) = {headers for _, headers in of_api}
            assert 'WWW-Authenticate: Bearer realm="modelhub"' in headers
        (body,) = {body for body, _ in answers[""]} - {""}
        assert json.loads(body)["error"]["code"] == "unauthorized"


def _api(app: Flask, path: str) -> str:
    """The part of the paths that is another API's, with its errors; empty for modelhub's own."""
    parts = app.extensions["modelhub_error_shapes"]
    return next((part for part in parts if path == part or path.startswith(f"{part}/")), "")


def test_what_is_there_cannot_be_told_from_what_is_not(locked: Flask) -> None:
    client = locked.test_client()
    with_token = {
        path: client.get(path, headers=bearer(TOKEN)) for path in (f"/models/{MODEL}", "/no/such/page")
    }
    assert [one.status_code for one in with_token.values()] == [200, 404]
    paths = [
        f"/api/models/{MODEL}",
        "/api/models/nobody/x",
        "/api/models/..x",
        "/api/none",
        "/none",
        f"/models/{MODEL}",
    ]
    for method in ("GET", "POST", "DELETE", "PUT", "OPTIONS"):
        answers = [client.open(path, method=method) for path in paths]
        assert len({(one.status_code, one.data, str(one.headers)) for one in answers}) == 1
    for path in ("/", f"/models/{MODEL}", "/models/nobody/x", "/none"):
        response = client.get(path, headers=BROWSER)
        target = "/login" if path == "/" else f"/login?next={quote(path, safe='/')}"
        assert (response.status_code, response.headers["Location"]) == (303, target)
    of_openai = [f"/v1/models/{MODEL}", "/v1/models/nobody/x", "/v1/none", "/v1/chat/completions"]
    for method in ("GET", "POST"):
        answers = [client.open(path, method=method) for path in of_openai]
        assert len({(one.status_code, one.data, str(one.headers)) for one in answers}) == 1
    posted = client.post("/loads", data={"model": MODEL}, headers=BROWSER)
    assert (posted.status_code, posted.headers["Location"]) == (303, "/login")


def test_what_is_public_says_nothing_of_the_models(locked: Flask) -> None:
    registry_of(locked).troubles.append(lambda: [_trouble()])
    client = locked.test_client()
    assert client.get("/livez").json == {"live": True}
    assert client.get("/static/style.css").status_code == 200
    page = client.get("/login").text
    assert "/history" not in page
    assert "Another modelhub server" not in page
    assert "Another modelhub server" in client.get("/", headers=bearer(TOKEN)).text


def _trouble() -> Any:
    from modelhub.errors import ModelhubError

    return ModelhubError("already_running")


def test_a_right_token_is_taken_as_bearer_and_nowhere_else(locked: Flask) -> None:
    client = locked.test_client()
    assert client.get("/api/models", headers=bearer(TOKEN)).status_code == 200
    assert client.get("/api/models", headers={"Authorization": f"bearer  {TOKEN}"}).status_code == 200
    for wrong in (WRONG, TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "é"):
        assert client.get("/api/models", headers=bearer(wrong)).status_code == 401
    for query in (f"token={TOKEN}", f"access_token={TOKEN}", f"api_key={TOKEN}"):
        assert client.get(f"/api/models?{query}").status_code == 401
        assert client.get(f"/login?{query}").status_code == 200
    assert (
        client.get("/api/models", headers={"X-Token": TOKEN, "Cookie": f"token={TOKEN}"}).status_code == 401
    )


TOUCHES = [
    ("POST", "/api/loads", {"json": {"model": MODEL}}),
    ("POST", "/api/predictions", {"json": {"model": MODEL, "inputs": "x"}}),
    ("DELETE", f"/api/models/{MODEL}", {}),
    ("DELETE", "/api/loads/none", {}),
    ("DELETE", f"/api/prepared/{MODEL}", {}),
    ("DELETE", f"/api/files/{MODEL}", {}),
    ("GET", f"/api/plans?model={MODEL}", {}),
    ("HEAD", f"/api/plans?model={MODEL}", {}),
    ("GET", f"/delete/{MODEL}", {}),
    ("POST", "/loads", {"data": {"model": MODEL}}),
    ("POST", f"/models/{MODEL}/try", {"data": {"text": "x"}}),
    ("POST", "/api/later", {"json": {}}),
]


def test_with_the_view_token_one_can_watch_and_change_nothing(locked: Flask) -> None:
    client = locked.test_client()
    for path in (
        "/",
        f"/models/{MODEL}",
        "/history",
        "/docs",
        "/api/models",
        "/api/loads",
        "/api/memory",
        "/openapi.json",
    ):
        assert client.get(path, headers=bearer(VIEW)).status_code == 200, path
    for method, path, options in TOUCHES:
        response = client.open(path, method=method, headers=bearer(VIEW), **options)
        assert response.status_code == 403, path
        if method != "HEAD" and path.startswith("/api/"):
            assert response.json is not None
            assert response.json["error"]["code"] == "forbidden"
        assert client.open(path, method=method, headers=bearer(TOKEN), **options).status_code != 403
    log_in(client, VIEW)
    pressed = client.post("/loads", data={"model": MODEL, "csrf_token": csrf_token(client.get("/").text)})
    assert pressed.status_code == 403
    assert "one can watch" in pressed.text


def test_pages_of_a_viewer_say_so_and_show_no_path(locked: Flask) -> None:
    client = locked.test_client()
    models_dir = str(registry_of(locked).settings.models_dir)
    log_in(client, VIEW)
    page = client.get("/").text
    assert 'class="view-only"' in page
    assert "View only" in page
    assert models_dir not in page
    log_in(client, TOKEN)
    page = client.get("/").text
    assert "view-only" not in page
    assert models_dir in page


def test_the_login_page_begins_a_session_without_the_token_in_it(locked: Flask) -> None:
    client = locked.test_client()
    refused = log_in(client, WRONG)
    assert refused.status_code == 401
    assert "not the token of this server" in refused.text
    assert client.get("/api/models").status_code == 401
    response = log_in(client, TOKEN, "/login?next=/history?q=x")
    assert (response.status_code, response.headers["Location"]) == (303, "/history?q=x")
    cookie = response.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    payload = cookie.partition("=")[2].partition(".")[0]
    assert TOKEN not in base64.urlsafe_b64decode(payload + "==").decode()
    assert client.get("/api/models").status_code == 200
    page = client.get("/")
    assert (page.status_code, page.headers["Cache-Control"]) == (200, "no-store")
    assert "Log out" in page.text
    assert client.get("/login").status_code == 303


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:x", "/\r\nX: y", "x", "/" * 3],
)
def test_the_login_page_leads_to_this_server_only(locked: Flask, target: str) -> None:
    response = log_in(locked.test_client(), TOKEN, f"/login?next={quote(target)}")
    assert (response.status_code, response.headers["Location"]) == (303, "/")


def test_over_https_the_cookie_is_secure(make_app: MakeApp) -> None:
    client = make_app(TOKEN=TOKEN, PROXIES=1).test_client()
    headers = {"X-Forwarded-Proto": "https"}
    form = {"csrf_token": csrf_token(client.get("/login", headers=headers).text), "token": TOKEN}
    sent = {**headers, "Referer": "https://localhost/login", "Origin": "https://localhost"}
    response = client.post("/login", data=form, headers=sent, base_url="https://localhost")
    assert response.status_code == 303
    assert "Secure" in response.headers["Set-Cookie"].split("; ")


def test_a_login_needs_the_form_of_the_page(locked: Flask) -> None:
    client = locked.test_client()
    assert client.post("/login", data={"token": TOKEN}).status_code == 400
    large = client.post("/login", data={"token": "x" * 5000})
    assert large.status_code == 413
    assert client.get("/api/models").status_code == 401


def test_after_ten_wrong_tokens_no_more_are_looked_at(make_app: MakeApp) -> None:
    app = make_app(TOKEN=TOKEN, PROXIES=1)
    client, logged_in = app.test_client(), app.test_client()
    log_in(logged_in, TOKEN)
    for number in range(10):
        refused = log_in(client, WRONG) if number % 2 else client.get("/api/models", headers=bearer(WRONG))
        assert refused.status_code == 401
    for token in (WRONG, TOKEN):
        limited = client.get("/api/models", headers=bearer(token))
        assert limited.json is not None
        assert (limited.status_code, limited.json["error"]["code"]) == (429, "too_many_requests")
        assert limited.headers["Retry-After"] == "60"
        page = log_in(client, token)
        assert (page.status_code, page.headers["Retry-After"]) == (429, "60")
    assert client.get("/api/models").status_code == 401, "no token is no guess"
    assert logged_in.get("/api/models").status_code == 200
    elsewhere = {"X-Forwarded-For": "192.0.2.7"}
    assert client.get("/api/models", headers={**bearer(TOKEN), **elsewhere}).status_code == 200
    for last in ("0:0:0:1", "2:3:4:5"):  # two addresses of one network
        for _ in range(5):
            client.get("/api/models", headers={**bearer(WRONG), "X-Forwarded-For": f"2001:db8:1:2:{last}"})
    near, far = ({**bearer(TOKEN), "X-Forwarded-For": f"2001:db8:1:{net}::9"} for net in (2, 3))
    assert client.get("/api/models", headers=near).status_code == 429
    assert client.get("/api/models", headers=far).status_code == 200


def test_who_logs_out_is_out_with_every_page(locked: Flask) -> None:
    client, other = locked.test_client(), locked.test_client()
    for one in (client, other):
        log_in(one, TOKEN)
    stolen = client.get_cookie("modelhub_5000")
    assert stolen is not None
    response = client.post("/logout", data={"csrf_token": csrf_token(client.get("/").text)})
    assert (response.status_code, response.headers["Location"]) == (303, "/login")
    assert client.get("/api/models").status_code == 401
    client.set_cookie("modelhub_5000", stolen.value)
    assert client.get("/api/models").status_code == 401
    assert other.get("/api/models").status_code == 200


def test_another_token_ends_the_sessions_of_the_last_run(make_app: MakeApp, tmp_path: Path) -> None:
    first = make_app(TOKEN=TOKEN, VIEW_TOKEN=VIEW)
    cookies = {}
    for token in (TOKEN, VIEW):
        client = first.test_client()
        log_in(client, token)
        cookies[token] = client.get_cookie("modelhub_5000")
    key = registry_of(first).settings.data_dir / "secret_key"
    for number, (full, view, good) in enumerate([(TOKEN, "", [TOKEN]), (WRONG, VIEW, [VIEW])]):
        folder = tmp_path / f"run{number}"
        folder.mkdir()
        shutil.copy(key, folder)
        again = make_app(TOKEN=full, VIEW_TOKEN=view, DATA_DIR=folder).test_client()
        for token, cookie in cookies.items():
            assert cookie is not None
            again.set_cookie("modelhub_5000", cookie.value)
            assert again.get("/api/models").status_code == (200 if token in good else 401)


def _connect(app: Flask, auth: object = None, headers: dict[str, str] | None = None) -> Any:
    """A Socket.IO client, without its transport."""
    return app.extensions["socketio"].test_client(app, auth=auth, headers=headers)


def test_socket_io_takes_a_token_a_header_or_a_session(locked: Flask) -> None:
    client = locked.test_client()
    log_in(client, VIEW)
    cookie = client.get_cookie("modelhub_5000")
    assert cookie is not None
    session = {"Cookie": f"modelhub_5000={cookie.value}"}
    for auth, headers in [
        ({"token": TOKEN}, None),
        ({"token": VIEW}, None),
        (None, bearer(TOKEN)),
        (None, session),
    ]:
        watcher = _connect(locked, auth, headers)
        assert watcher.is_connected()
        assert watcher.emit("subscribe", {"id": MODEL}, callback=True)["ok"]
        watcher.disconnect()
    assert not access_of(locked)._sockets, "those that have left are forgotten"
    wrong: list[Any] = [None, {}, "", TOKEN, [TOKEN], {"token": None}, {"token": [TOKEN]}, {"token": WRONG}]
    for auth in wrong:
        assert not _connect(locked, auth).is_connected()
    assert not _connect(locked, {"token": WRONG}, session).is_connected()


def test_changed_tokens_disconnect_and_a_stranger_cannot_subscribe(locked: Flask) -> None:
    access = access_of(locked)
    full, viewer = _connect(locked, {"token": TOKEN}), _connect(locked, {"token": VIEW})
    client = locked.test_client()
    log_in(client, TOKEN)
    access.change(Tokens(WRONG, VIEW))
    _wait_until(lambda: not full.is_connected())
    assert viewer.is_connected()
    assert client.get("/api/models").status_code == 401
    assert client.get("/api/models", headers=bearer(TOKEN)).status_code == 401
    assert client.get("/api/models", headers=bearer(WRONG)).status_code == 200
    access._take(Tokens(WRONG))  # before it could be disconnected
    refused = viewer.emit("subscribe", {"id": MODEL}, callback=True)
    assert (refused["ok"], refused["error"]["code"]) == (False, "unauthorized")


def _wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_server_without_a_token_says_so_everywhere(make_app: MakeApp) -> None:
    client = make_app(HOST="0.0.0.0", INSECURE=1).test_client()
    words = "everybody who reaches this server can load, use and delete models"
    for path in ("/", "/history", "/docs", f"/models/{MODEL}"):
        assert words in client.get(path).text
    ready = client.get("/readyz").json
    assert ready is not None
    assert [one["code"] for one in ready["degraded"]] == ["insecure"]
    for settings in ({"INSECURE": 1}, {"HOST": "0.0.0.0", "INSECURE": 1, "TOKEN": TOKEN}):
        client = make_app(**settings).test_client()
        assert words not in client.get("/", headers=bearer(TOKEN)).text


def test_where_no_token_is_set_nothing_is_asked(client: FlaskClient) -> None:
    for headers in ({}, bearer(WRONG)):
        assert client.get("/api/models", headers=headers).status_code == 200
    page = client.get("/").text
    assert "Log out" not in page
    assert "view-only" not in page
    assert client.get("/login").headers["Location"] == "/"


def test_no_log_has_a_token(locked: Flask, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client = locked.test_client()
    for token in (WRONG, TOKEN):
        client.get("/api/models", headers=bearer(token))
        client.get(f"/api/models?token={token}")
        log_in(client, token)
        _connect(locked, {"token": token})
    client.get("/socket.io/?EIO=4&transport=polling&sid=" + WRONG)
    assert "Invalid session of a client" in caplog.text
    assert "A wrong token came from 127.0.0.1" in caplog.text
    assert TOKEN not in caplog.text
    assert WRONG not in caplog.text
