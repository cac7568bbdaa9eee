"""The probe of programs that look for Ollama: told from a browser that wants the page by what it accepts."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from tests.support.types import MakeApp

RUNNING = "Ollama is running"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize("accept", ["application/json", "text/plain", "text/html;q=0, text/plain"])
def test_who_does_not_accept_a_page_is_told_that_it_runs(client: FlaskClient, accept: str) -> None:
    response = client.get("/", headers={"Accept": accept})
    assert (response.status_code, response.text) == (200, RUNNING)


@pytest.mark.parametrize("accept", [BROWSER, "*/*", "text/*", None])
def test_who_accepts_a_page_gets_it(client: FlaskClient, accept: str | None) -> None:
    response = client.get("/", headers={} if accept is None else {"Accept": accept})
    assert "<h1" in response.text
    assert RUNNING not in response.text


def test_head_is_a_probe_unless_it_names_the_page(client: FlaskClient) -> None:
    lengths = [client.head("/", headers=headers).content_length for headers in ({}, {"Accept": "*/*"})]
    assert lengths == [len(RUNNING)] * 2
    page = client.head("/", headers={"Accept": BROWSER})
    assert page.mimetype == "text/html"


def test_the_probe_needs_no_token_and_nothing_else_of_that_address_goes_without(make_app: MakeApp) -> None:
    client = make_app(TOKEN="a-token-of-its-own").test_client()
    assert client.get("/", headers={"Accept": "application/json"}).text == RUNNING
    assert client.head("/").status_code == 200
    assert client.get("/").status_code == 401
    assert client.get("/", headers={"Accept": BROWSER}).status_code == 303
    assert client.post("/", headers={"Accept": "application/json"}).status_code == 401
    assert client.get("/history", headers={"Accept": "application/json"}).status_code == 401
