"""Error responses: one JSON shape for the API, those of other APIs at theirs, a page in words for people."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeAlias, cast

from flask import Flask, Response, current_app, jsonify, render_template, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from modelhub import units
from modelhub.errors import ModelhubError

log = logging.getLogger(__name__)
# By code
RETRY_AFTER_S = {
    "hub_away": "5",
    "queue_full": "10",
    "shutting_down": "10",
    "too_busy": "10",
    "too_many_requests": "60",
}
Shape: TypeAlias = Callable[[ModelhubError], Response]
_SHAPES = "modelhub_error_shapes"


def init_app(app: Flask) -> None:
    """Return every failure with its code, message and hint."""
    app.register_error_handler(ModelhubError, error_response)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)


def shape_errors(app: Flask, paths: tuple[str, ...], shape: Shape) -> None:
    """Have ``shape`` make the responses for errors at these paths, and below them: another API's."""
    app.extensions.setdefault(_SHAPES, {}).update(dict.fromkeys(paths, shape))


def in_shape_of_path(error: ModelhubError) -> Response | None:
    """The response for ``error`` where the path is one of another API, also without such a route."""
    for path, shape in current_app.extensions.get(_SHAPES, {}).items():
        if request.path == path or request.path.startswith(f"{path}/"):
            response: Response = shape(error)
            return response
    return None


def error_response(error: ModelhubError) -> Response:
    """The response for ``error``: JSON below /api and for scripts, a page elsewhere."""
    shaped = in_shape_of_path(error)
    if shaped is not None:
        return shaped
    if wants_json():
        response = jsonify({"error": error.to_dict()})
    else:
        response = Response(render_template("error.html", error=error), mimetype="text/html")
    response.status_code = error.status
    if error.code in RETRY_AFTER_S:
        response.headers["Retry-After"] = RETRY_AFTER_S[error.code]
    return response


def wants_json() -> bool:
    """Whether the response is JSON rather than a page."""
    is_api = request.path.startswith("/api/") or request.path in ("/livez", "/readyz", "/openapi.json")
    return is_api or request.accept_mimetypes.best == "application/json"


def _http_error(error: HTTPException) -> Response:
    """The response for one of werkzeug's exceptions: a redirect as it is, else a failure."""
    if error.code is not None and error.code < 400:
        return cast(Response, error.get_response())
    response = error_response(_translate(error))
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return response


def _translate(error: HTTPException) -> ModelhubError:
    """The failure that stands for one of werkzeug's exceptions."""
    status = error.code or 500
    if status == 404:
        return ModelhubError("not_found")
    if status == 405:
        return ModelhubError("method_not_allowed")
    if status == 413:
        return ModelhubError("too_large", limit=units.size(request.max_content_length or 0))
    if status < 500:
        translated = ModelhubError("invalid_request", why=_why(error))
        translated.status = status
        return translated
    return ModelhubError("internal")


def _why(error: HTTPException) -> str:
    """What webargs found wrong, in words; else werkzeug's description."""
    messages: Any = getattr(error, "data", {}).get("messages")
    if not messages:
        return error.description or error.name
    return " ".join(
        in_words(fields if isinstance(fields, dict) else {"the body": fields}) for fields in messages.values()
    )


def in_words(fields: dict[str, Any]) -> str:
    """What marshmallow found wrong in each field, in one line."""
    return " ".join(
        f"{name}: {' '.join(map(str, what if isinstance(what, list) else [what]))}"
        for name, what in fields.items()
    )


def _unexpected(error: Exception) -> Response:
    log.exception("A request failed", exc_info=error)
    return error_response(ModelhubError("internal"))
