"""Hosts, forms of other sites, headers and the key that signs sessions."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from modelhub.web.current import registry_of
from tests.support.types import StartServer

MODEL = "demo/random-2gb"


@pytest.mark.parametrize("path", ["/", "/api/models"])
def test_a_name_that_merely_resolves_to_this_machine_is_refused(client: FlaskClient, path: str) -> None:
    assert client.get(path, headers={"Host": "evil.example"}).status_code == 400
    assert client.get(path, headers={"Host": "localhost:5000"}).status_code == 200


def test_a_form_without_the_token_of_a_page_is_refused_in_words(client: FlaskClient) -> None:
    response = client.post("/loads", data={"model": MODEL})
    assert response.status_code == 400
    assert "Reload the page" in response.text
    assert client.get("/api/loads").json == {"loads": [], "total": 0, "next": None}


def test_the_form_of_another_site_starts_no_load_over_the_api(client: FlaskClient) -> None:
    assert client.post("/api/loads", data={"model": MODEL}).status_code == 422
    assert client.get("/api/loads").json == {"loads": [], "total": 0, "next": None}


def test_the_first_request_of_a_first_server_is_a_page(start_server: StartServer) -> None:
    server = start_server()
    for _ in range(2):
        assert server.get("/").status_code == 200


def test_headers(client: FlaskClient) -> None:
    headers = client.get("/").headers
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert "form-action 'self'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Opener-Policy"] == headers["Cross-Origin-Resource-Policy"] == "same-origin"
    for path, cached in (("/", "no-store"), ("/api/models", "no-store"), ("/static/style.css", "no-cache")):
        assert client.get(path).headers["Cache-Control"] == cached


def test_only_its_owner_can_read_the_key(app: Flask, client: FlaskClient) -> None:
    client.get("/")
    path: Path = registry_of(app).settings.data_dir / "secret_key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_text()) == 64
