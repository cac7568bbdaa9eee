"""What programs that look for Ollama ask for at the address of the dashboard: whether the server is there."""

from __future__ import annotations

from flask import Flask, Response, request

_TEXT = "Ollama is running"
_PAGE = "text/html"


def init_app(app: Flask) -> None:
    """Answer probes, before anything else looks at the request."""
    app.before_request(lambda: Response(_TEXT, mimetype="text/plain") if is_probe() else None)


def is_probe() -> bool:
    """Whether the request is a probe: at /, of a client that does not accept a page.

    No browser sends HEAD, so there a client must name the page; elsewhere whoever accepts anything gets it.
    Everybody may send one: the answer says no more than /livez does.
    """
    if request.path != "/" or request.method not in ("GET", "HEAD"):
        return False
    accepted = request.accept_mimetypes
    if request.method == "HEAD":
        return _PAGE not in accepted.values()
    return bool(accepted) and accepted[_PAGE] <= 0
