"""Sessions, same-origin forms (CSRF), response headers."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import time
from pathlib import Path

from flask import Flask, Response, g, request
from flask.sessions import SecureCookieSessionInterface
from flask_wtf import CSRFProtect

from modelhub.errors import ModelhubError
from modelhub.progress.redis_link import shared_secret
from modelhub.web import access
from modelhub.web.current import reading_of

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; media-src 'self' data:; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",  # what is said is of the moment, and for this client
}
_KEY_BYTES = 32
log = logging.getLogger(__name__)
csrf = CSRFProtect()


class Sessions(SecureCookieSessionInterface):
    """Flask's sessions; the cookie of one that began over https is not sent without it."""

    def get_cookie_secure(self, app: Flask) -> bool:
        """Whether the client came over https, as far as a proxy of MODELHUB_PROXIES says so."""
        return request.is_secure


def init_app(app: Flask) -> None:
    """Check the access to the app, protect its forms, add headers to responses."""
    settings = reading_of(app).settings
    app.config.update(SESSION_COOKIE_SAMESITE="Strict", WTF_CSRF_TIME_LIMIT=None)
    app.session_interface = Sessions()
    if app.secret_key is None:  # a web process has the key of its hub, and no data folder
        _set_key(app, settings.data_dir / "secret_key", settings.redis)
    _name_cookie(app)
    access.init_app(app)  # before the forms: without a token, all is answered alike
    csrf.init_app(app)
    app.after_request(_add_headers)


def use_key(app: Flask, key: str) -> None:
    """Sign sessions with another key from now on, which all web processes have; it is kept, too."""
    log.warning("The key that signs sessions is that of the other web processes now: log in again.")
    change_key(app, key)
    _keep_key(reading_of(app).settings.data_dir / "secret_key", key, is_shared=True)


def change_key(app: Flask, key: str) -> None:
    """Sign sessions with another key from now on; those of before have ended."""
    app.secret_key = key
    _name_cookie(app)
    access.access_of(app).change(reading_of(app).settings.read_tokens())


def random_key() -> str:
    """A new key."""
    return secrets.token_hex(_KEY_BYTES)


def _name_cookie(app: Flask) -> None:
    """Cookies do not tell the ports of a host apart: another server's has another name.

    That of a hub and its web processes is one for all, so they take it from the key.
    """
    settings = reading_of(app).settings
    digest = hashlib.sha256(f"cookie:{app.secret_key!s}".encode()).hexdigest()[:8]
    app.config["SESSION_COOKIE_NAME"] = f"modelhub_{digest if settings.redis else settings.port}"


def _set_key(app: Flask, path: Path, redis: str) -> None:
    """Sign sessions with the key in the data folder, which only its owner can read; make one if needed.

    Where that cannot be kept, it is good for this run: forms of earlier pages are asked to reload. With
    ``redis`` it is the key that is there, so that a session is good for all web processes.
    """
    own = _read_key(path) or random_key()
    app.secret_key = (shared_secret(redis, own) if redis else None) or own
    reading_of(app).on_start.append(lambda: _keep_key(path, str(app.secret_key), bool(redis)))


def _read_key(path: Path) -> str | None:
    """The key that an earlier run has kept; None without one that can be used."""
    try:
        text = path.read_text().strip() if path.is_file() else ""
    except (OSError, ValueError):
        return None
    return text if len(text) >= _KEY_BYTES and text.isprintable() else None


def _keep_key(path: Path, key: str, is_shared: bool) -> None:
    """Keep the key for the next run; what else is in its place is set aside, unless it is a key as well."""
    kept = _read_key(path)
    if kept == key:
        return
    written = path.with_name("secret_key.new")
    try:
        if os.path.lexists(path) and not (kept and is_shared):
            aside = path.with_name(f"secret_key.bad-{time.strftime('%Y-%m-%dT%H%M%S')}")
            os.rename(path, aside)
            log.warning("The key that signs sessions could not be used: it is now %s", aside.name)
        descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(key)
        os.replace(written, path)
    except OSError as error:
        log.warning(
            "The key that signs sessions cannot be kept, and is good for this run: %s", error.strerror
        )


def refuse_silent_browser() -> None:
    """Raise ``cross_site`` for a browser that does not say whose page has sent the request.

    For addresses that take what a form of another site's page could send, and check no token of a form. Where
    a browser says it (Origin, Sec-Fetch-Site), ``web.gate`` has looked. A session counts as a browser.
    """
    if "Origin" in request.headers or "Sec-Fetch-Site" in request.headers:
        return
    identity: access.Identity | None = g.get("identity")
    is_browser = request.user_agent.string.startswith("Mozilla/")
    if is_browser or (identity is not None and identity.login):
        raise ModelhubError("cross_site")


def _add_headers(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response
