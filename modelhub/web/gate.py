"""What every request passes first, of pages, REST and Socket.IO: which host it names, whose page sent it.

It is WSGI, so that nothing is in front of it but the proxies of MODELHUB_PROXIES.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from modelhub.errors import ModelhubError
from modelhub.hosts import Hosts, is_address_of_others, parse
from modelhub.web import vouching
from modelhub.web.current import reading_of

Environ = dict[str, Any]
_PORTS = {"http": 80, "https": 443}
_REPEATED = "Invalid session"
_NO_LINK = ("/api/", "/socket.io")  # below these, a link of another site leads to nothing


def init_app(app: Flask) -> None:
    """Put the gate in front of everything that was registered so far."""
    settings = reading_of(app).settings
    is_open = bool(settings.read_tokens().full) or settings.insecure
    hosts = Hosts(settings.host, settings.hosts)
    gate = Gate(app.wsgi_app, hosts, is_open=is_open, key=lambda: str(app.secret_key))
    of = settings.proxies
    logging.getLogger("engineio.server").addFilter(_without_query)
    app.wsgi_app = ProxyFix(gate, x_for=of, x_proto=of, x_host=of) if of else gate  # type: ignore[method-assign]


def _without_query(record: logging.LogRecord) -> bool:
    """Leave out what the library repeats of a query; for all records."""
    if str(record.msg).startswith(_REPEATED):
        record.msg, record.args = f"{_REPEATED} of a client", ()
    return True


class Gate:
    """Wraps a WSGI application. ``is_open``: others than this machine may send requests.

    ``key()`` is that of the sessions, by which the web processes of this server are known.
    """

    def __init__(
        self,
        application: Callable[..., Iterable[bytes]],
        hosts: Hosts,
        *,
        is_open: bool,
        key: Callable[[], str],
    ) -> None:
        self._application = application
        self._hosts = hosts
        self._is_open = is_open
        self._key = key

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Pass the request on, or refuse it."""
        # What a proxy that may set them has set is in other keys by now.
        for name in [name for name in environ if name.startswith(("HTTP_X_FORWARDED", "HTTP_FORWARDED"))]:
            del environ[name]
        error = self._refusal(environ)
        return (
            self._application(environ, start_response)
            if error is None
            else _refuse(error, environ, start_response)
        )

    def _refusal(self, environ: Environ) -> ModelhubError | None:
        # A web process has looked itself at the name that it was reached by, which need not be one of here.
        is_passed_on = vouching.take(self._key(), environ)
        before_proxies = environ if is_passed_on else environ.get("werkzeug.proxy_fix.orig", environ)
        if not self._is_open and is_address_of_others(before_proxies.get("REMOTE_ADDR") or ""):
            return ModelhubError("token_missing", host="an address that others reach")
        if not (is_passed_on or self._hosts.accept(environ.get("HTTP_HOST", ""))):
            return ModelhubError("unknown_host")
        return ModelhubError("cross_site") if is_of_another_site(environ) else None


def is_own_origin(origin: str | None, environ: Environ) -> bool:
    """Whether an Origin header is that of this server's own pages, as the request names the server."""
    own = _authority(environ["wsgi.url_scheme"], environ.get("HTTP_HOST", ""))
    scheme, separator, host = (origin or "").partition("://")
    return bool(separator) and own is not None and _authority(scheme, host) == own


def is_of_another_site(environ: Environ) -> bool:
    """Whether a page of another origin has sent the request: anything but a link to one of the pages."""
    origin = environ.get("HTTP_ORIGIN")
    if origin is not None:
        return not is_own_origin(origin, environ)
    if environ.get("HTTP_SEC_FETCH_SITE", "none") in ("none", "same-origin"):
        return False
    is_link = (
        environ["REQUEST_METHOD"] in ("GET", "HEAD")
        and environ.get("HTTP_SEC_FETCH_MODE") == "navigate"
        and environ.get("HTTP_SEC_FETCH_DEST") == "document"
    )
    return not is_link or environ.get("PATH_INFO", "").startswith(_NO_LINK)


def _authority(scheme: str, host: str) -> tuple[str, str, int] | None:
    """What makes an origin, with the port that its scheme implies; None for what is none."""
    found = parse(host)
    if found is None or scheme not in _PORTS:
        return None
    return scheme, found.name, found.port or _PORTS[scheme]


def _refuse(error: ModelhubError, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Plain text for a browser, since the links of a page would name a host that is not this server's."""
    is_page = "text/html" in environ.get("HTTP_ACCEPT", "")
    text = f"{error.message} {error.hint}\n" if is_page else json.dumps({"error": error.to_dict()})
    headers = [
        ("Content-Type", "text/plain; charset=utf-8" if is_page else "application/json"),
        ("Content-Length", str(len(text.encode()))),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    start_response({400: "400 Bad Request"}.get(error.status, "403 Forbidden"), headers)
    return [text.encode()]
