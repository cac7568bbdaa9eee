"""Failures as answers: one JSON shape for the API, a page in words for people."""

from __future__ import annotations

import logging
from typing import Any

from flask import Flask, Response, jsonify, render_template, request
from werkzeug.exceptions import HTTPException, SecurityError

from modelhub import units
from modelhub.errors import ModelhubError

log = logging.getLogger(__name__)
_RETRY_AFTER_S = "10"


def init_app(app: Flask) -> None:
    """Answer every failure with its code, message and hint."""
    app.register_error_handler(ModelhubError, answer)
    app.register_error_handler(SecurityError, _refuse_host)
    app.register_error_handler(HTTPException, lambda error: answer(_translate(app, error)))
    app.register_error_handler(Exception, _unexpected)


def answer(error: ModelhubError) -> Response:
    """The response that tells ``error``: JSON below /api and to scripts, a page elsewhere."""
    if wants_json():
        response = jsonify({"error": error.to_dict()})
    else:
        response = Response(render_template("error.html", error=error), mimetype="text/html")
    response.status_code = error.status
    if error.code in ("queue_full", "shutting_down"):
        response.headers["Retry-After"] = _RETRY_AFTER_S
    return response


def _refuse_host(_: SecurityError) -> Response:
    """For a host name that is not ours; a page cannot be made of it, since its links would name that host."""
    return Response("This server does not answer to that host name.\n", status=400, mimetype="text/plain")


def wants_json() -> bool:
    """Whether the request is answered with JSON rather than a page."""
    is_api = request.path.startswith("/api/") or request.path in ("/livez", "/readyz", "/openapi.json")
    return is_api or request.accept_mimetypes.best == "application/json"  # so does the script of a page


def _translate(app: Flask, error: HTTPException) -> ModelhubError:
    """One of our failures for one of werkzeug's."""
    status = error.code or 500
    if status == 404:
        return ModelhubError("not_found")
    if status == 405:
        return ModelhubError("method_not_allowed")
    if status == 413:
        return ModelhubError("too_large", limit=units.size(app.config["MAX_CONTENT_LENGTH"]))
    if status < 500:
        translated = ModelhubError("invalid_request", why=_why(error))
        translated.status = status
        return translated
    return ModelhubError("internal")


def _why(error: HTTPException) -> str:
    """What webargs found wrong, as words; else what werkzeug says."""
    messages: Any = getattr(error, "data", {}).get("messages")
    if not messages:
        return error.description or error.name
    parts: list[str] = []
    for fields in messages.values():
        rows = fields.items() if isinstance(fields, dict) else [("the body", fields)]
        parts += [
            f"{name}: {' '.join(map(str, what if isinstance(what, list) else [what]))}" for name, what in rows
        ]
    return " ".join(parts)


def _unexpected(error: Exception) -> Response:
    log.exception("A request failed", exc_info=error)
    return answer(ModelhubError("internal"))
