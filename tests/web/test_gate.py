"""Hosts, pages of other sites, and the headers of proxies: for pages, REST and Socket.IO alike."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support.forms import csrf_token
from tests.support.types import MakeApp

MODEL = "demo/random-2gb"
POLLING = "/socket.io/?EIO=4&transport=polling"
PATHS = ["/", "/api/models", "/livez", "/static/style.css", "/no/such/page", POLLING]
OWN = {"Host": "localhost:5000", "Origin": "http://localhost:5000"}
CROSS = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
SPOOFED = {
    "X-Forwarded-Host": "localhost",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-For": "127.0.0.1",
    "Forwarded": "host=localhost;for=127.0.0.1",
}


@pytest.mark.parametrize("path", PATHS)
def test_a_name_that_merely_resolves_to_this_machine_is_refused(client: FlaskClient, path: str) -> None:
    for more in ({}, {"Origin": "http://evil.example"}, SPOOFED):
        response = client.get(path, headers={"Host": "evil.example", **more})
        assert response.json is not None
        assert (response.status_code, response.json["error"]["code"]) == (400, "unknown_host")
    assert client.get(path, headers={"Host": "localhost:5000"}).status_code in (200, 404)


def test_a_browser_gets_the_refusal_in_words(client: FlaskClient) -> None:
    response = client.get("/", headers={"Host": "evil.example", "Accept": "text/html,*/*"})
    assert (response.status_code, response.mimetype) == (400, "text/plain")
    assert "MODELHUB_HOSTS" in response.text


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
@pytest.mark.parametrize("name", ["127.0.0.1", "[::1]", "localhost"])
def test_a_server_at_any_loopback_address_accepts_the_names_of_all(
    make_app: MakeApp, host: str, name: str
) -> None:
    client = make_app(HOST=host).test_client()
    own = {"Host": f"{name}:5000", "Origin": f"http://{name}:5000"}
    assert client.get("/", headers={"Host": f"{name}:5000"}).status_code == 200
    assert client.get(POLLING, headers=own).status_code == 200


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "http://localhost:3000",
        "https://localhost:5000",
        "http://[::1]:5000",
        "null",
        "localhost:5000",
    ],
)
@pytest.mark.parametrize("path", ["/api/models", POLLING])
def test_another_origin_is_refused(client: FlaskClient, path: str, origin: str) -> None:
    assert client.get(path, headers=OWN).status_code == 200
    for more in ({}, SPOOFED, {"X-Forwarded-Host": origin.partition("://")[2]}):
        response = client.get(path, headers={**OWN, "Origin": origin, **more})
        assert response.json is not None
        assert (response.status_code, response.json["error"]["code"]) == (403, "cross_site")


def test_a_hostile_page_starts_nothing(client: FlaskClient) -> None:
    body = '{"model": "demo/random-2gb"}'
    for headers in (
        {**OWN, "Origin": "http://evil.example"},
        CROSS,
        {**CROSS, "Sec-Fetch-Site": "same-site"},
        LINK,
    ):
        sent = client.post("/api/loads", data=body, content_type="application/json", headers=headers)
        assert sent.status_code == 403
        for path in (f"/api/plans?model={MODEL}", POLLING):
            assert client.get(path, headers=headers).status_code == 403
    page = client.get("/")
    form = {"model": MODEL, "csrf_token": csrf_token(page.text)}
    assert client.post("/loads", data=form, headers={"Origin": "http://evil.example"}).status_code == 403
    assert client.get("/api/loads").json == {"loads": [], "total": 0, "next": None}


def test_links_of_other_sites_lead_to_pages(client: FlaskClient) -> None:
    assert client.get("/history", headers=LINK).status_code == 200
    assert client.get("/history", headers=CROSS).status_code == 403
    for site in ("same-origin", "none"):
        assert client.get("/api/models", headers={**CROSS, "Sec-Fetch-Site": site}).status_code == 200


def test_where_no_token_is_asked_for_only_this_machine_gets_in(make_app: MakeApp) -> None:
    """Whatever address another WSGI server listens at."""
    client = make_app().test_client()
    for path in PATHS:
        response = client.get(path, environ_base={"REMOTE_ADDR": "192.0.2.7"})
        assert response.json is not None
        assert (response.status_code, response.json["error"]["code"]) == (403, "token_missing")
        spoofed = client.get(path, environ_base={"REMOTE_ADDR": "192.0.2.7"}, headers=SPOOFED)
        assert spoofed.status_code == 403
    for address in ("127.0.0.1", "::1", ""):
        assert client.get("/", environ_base={"REMOTE_ADDR": address}).status_code == 200
    insecure = make_app(HOST="0.0.0.0", INSECURE=1).test_client()
    assert insecure.get("/", environ_base={"REMOTE_ADDR": "192.0.2.7"}).status_code == 200


def test_headers_of_a_proxy_count_only_where_there_is_one(make_app: MakeApp) -> None:
    headers = {
        "Host": "inside:5000",
        "X-Forwarded-For": "203.0.113.1, 198.51.100.2",
        "X-Forwarded-Host": "models.example.org",
        "X-Forwarded-Proto": "https",
        "Origin": "https://models.example.org",
    }
    settings = {"TOKEN": "a-token-of-its-own", "HOSTS": "models.example.org"}
    bearer = {"Authorization": "Bearer a-token-of-its-own"}
    behind = make_app(PROXIES=1, **settings)
    seen: list[tuple[str | None, str]] = []
    _note(behind, seen)
    assert behind.test_client().get("/api/models", headers={**headers, **bearer}).status_code == 200
    assert seen == [("198.51.100.2", "https://models.example.org/")], "the one that the proxy has seen"
    assert behind.test_client().get(POLLING, headers=headers).status_code == 200
    direct = make_app(**settings)
    _note(direct, seen)
    assert direct.test_client().get("/api/models", headers={**headers, **bearer}).status_code == 400
    own = {**headers, **bearer, **OWN}
    assert direct.test_client().get("/api/models", headers=own).status_code == 200
    assert seen[1:] == [("127.0.0.1", "http://localhost:5000/")]


def _note(app: Flask, seen: list[tuple[str | None, str]]) -> None:
    from flask import request

    app.before_request(lambda: seen.append((request.remote_addr, request.host_url)))
