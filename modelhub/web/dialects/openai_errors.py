"""Errors in the shape of OpenAI's API."""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify

from modelhub.errors import ModelhubError
from modelhub.web.dialects.fields import BadField
from modelhub.web.error_handlers import RETRY_AFTER_S

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_OF_THE_MODEL = ("invalid_id", "unknown_model", "wrong_state")
_OF_THE_REQUEST = ("bad_inputs", "invalid_request", "invalid_id")  # 400 rather than 422
_LATER_S = "60"


def error_body(error: ModelhubError) -> dict[str, Any]:
    """``{"error": {"message", "type", "code", "param"}}``; the message has the hint, which clients show."""
    is_of_server = error.status >= 500
    param = error.param if isinstance(error, BadField) else None
    return {
        "error": {
            "message": f"{error.message} {error.hint}".strip(),
            "type": _TYPES.get(error.status, "server_error" if is_of_server else "invalid_request_error"),
            "code": error.code,
            "param": "model" if error.code in _OF_THE_MODEL else param,
        }
    }


def error_response(error: ModelhubError) -> Response:
    """The response for ``error``: OpenAI's clients send a request again unless they are asked not to."""
    response = jsonify(error_body(error))
    is_of_request = error.status == 422 and error.code in _OF_THE_REQUEST
    response.status_code = 400 if is_of_request else error.status
    if error.code in RETRY_AFTER_S:
        response.headers["Retry-After"] = RETRY_AFTER_S[error.code]
    else:
        response.headers["x-should-retry"] = "false"
        if error.status == 503:
            response.headers["Retry-After"] = _LATER_S
    return response
