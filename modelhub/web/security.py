"""Trusted hosts, same-origin forms (CSRF), response headers."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from flask import Flask, Response
from flask_wtf import CSRFProtect

from modelhub.web.current import registry_of

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; media-src 'self' data:; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
csrf = CSRFProtect()


def init_app(app: Flask) -> None:
    """Protect the app's forms, check hosts, add headers to responses."""
    settings = registry_of(app).settings
    if settings.host in LOOPBACK:
        # Refuse other names that merely resolve to this machine (DNS rebinding).
        app.config["TRUSTED_HOSTS"] = ["127.0.0.1", "localhost", "[::1]"]
    app.config.update(
        SESSION_COOKIE_SAMESITE="Strict", SESSION_COOKIE_NAME="modelhub", WTF_CSRF_TIME_LIMIT=None
    )
    _set_key(app, settings.data_dir / "secret_key")
    csrf.init_app(app)
    app.after_request(_add_headers)


def _set_key(app: Flask, path: Path) -> None:
    """Sign sessions with the key in the data folder, which only its owner can read; make one if needed."""
    try:
        app.secret_key = path.read_text()
    except FileNotFoundError:
        app.secret_key = secrets.token_hex(32)
        registry_of(app).on_start.append(lambda: _keep_key(path, str(app.secret_key)))


def _keep_key(path: Path, key: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(key)


def _add_headers(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def never_cached(response: Response) -> Response:
    """Let no cache keep a page: it shows the state of the moment."""
    response.headers["Cache-Control"] = "no-store"
    return response
