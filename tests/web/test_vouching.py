"""What a web process says of the client of a request is believed by its proof alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import EnvironBuilder

from modelhub.web import vouching

KEY = "the key of all sessions"


def _environ(**more: str) -> dict[str, Any]:
    environ = EnvironBuilder("/", "https://models.example.org").get_environ()
    return {**environ, "REMOTE_ADDR": "203.0.113.7", **more}


def test_a_request_that_is_passed_on_counts_as_that_of_its_client() -> None:
    said = vouching.vouch(KEY, _environ())
    passed_on = EnvironBuilder("/", "http://127.0.0.1:5000").get_environ() | {"HTTP_X_MODELHUB_WEB": said}
    assert vouching.take(KEY, passed_on)
    assert passed_on["REMOTE_ADDR"] == "203.0.113.7"
    assert passed_on["HTTP_HOST"] == "models.example.org"
    assert passed_on["wsgi.url_scheme"] == "https"
    assert "HTTP_X_MODELHUB_WEB" not in passed_on


@pytest.mark.parametrize(
    "forge",
    [
        lambda said: "",
        lambda said: said.replace("203.0.113.7", "127.0.0.1"),
        lambda said: said.replace("https", "http"),
        lambda said: said[:-1],
        lambda said: f"{said} {said}",
        lambda said: vouching.vouch("another key", _environ()),
        lambda said: "\xff" * 64,
    ],
)
def test_what_has_no_right_proof_changes_nothing(forge: Callable[[str], str]) -> None:
    before = _environ()
    environ = {**before, "HTTP_X_MODELHUB_WEB": forge(vouching.vouch(KEY, before))}
    assert not vouching.take(KEY, environ)
    assert environ == before


def test_the_gate_believes_a_web_process_of_its_key_and_nobody_else(app: Flask, client: FlaskClient) -> None:
    of_others = _environ(HTTP_HOST="models.example.org")
    of_here = {**of_others, "REMOTE_ADDR": "127.0.0.1"}
    for environ, key, status in (
        (of_here, str(app.secret_key), 200),  # the name is one of the web process
        (of_here, "a guess", 400),
        (of_others, str(app.secret_key), 403),  # this server has no token, so others get nothing
    ):
        response = client.get(
            "/livez", headers={vouching.HEADER: vouching.vouch(key, environ)}, base_url="http://other"
        )
        assert response.status_code == status
