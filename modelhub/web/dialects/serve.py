"""What ``transformers serve`` has beside OpenAI's API: loading with its progress, unloading all, health."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from flask import Blueprint, Flask, Response, current_app, jsonify

from modelhub.errors import ModelhubError
from modelhub.web.current import registry_of
from modelhub.web.dialects import documents
from modelhub.web.dialects.documents import TEXT, body, operation, thing
from modelhub.web.dialects.event_stream import response
from modelhub.web.dialects.fields import read_body
from modelhub.web.dialects.models import ready_models
from modelhub.web.dialects.serve_load import load_lines
from modelhub.web.error_handlers import RETRY_AFTER_S, shape_errors
from modelhub.web.security import csrf, refuse_silent_browser

PATHS = ("/load_model", "/reset", "/health")
blueprint = Blueprint("serve", __name__)


def init_app(app: Flask) -> None:
    """Serve the API, and describe it in the OpenAPI document."""
    csrf.exempt(blueprint)  # /load_model takes JSON only, /reset asks the browser whose page it is
    app.register_blueprint(blueprint)
    shape_errors(app, PATHS, error_response)
    load = operation(
        "Load a model and follow that: stages processor, config, download (bytes), weights (tensors).",
        "serve",
        request=body("LoadModel"),
        kinds=(),
        streams=True,
    )
    documents.describe(
        app,
        {
            "serve.load_model": ("post", load),
            "serve.reset": ("post", operation("Unload all models.", "serve")),
            "serve.health": ("get", operation("The server responds.", "serve")),
        },
        {"LoadModel": thing(("model",), model={**TEXT, "minLength": 1})},
    )


def error_response(error: ModelhubError) -> Response:
    """The response for ``error``: ``{"detail"}``."""
    made = jsonify({"detail": f"{error.message} {error.hint}".strip()})
    made.status_code = error.status
    if error.code in RETRY_AFTER_S:
        made.headers["Retry-After"] = RETRY_AFTER_S[error.code]
    return made


@blueprint.post("/load_model")
def load_model() -> Response:
    """Load a model; a failure is an event, and the status is 200. The load goes on without this client."""
    name = read_body().text("model")
    if not name:
        raise ModelhubError("invalid_request", why="model: It is missing.")
    return response(load_lines(registry_of(current_app), name))


@blueprint.post("/reset")
def reset() -> Response:
    """Unload every model that is in memory."""
    refuse_silent_browser()
    registry = registry_of(current_app)
    for model_id in ready_models(registry):
        with suppress(ModelhubError):  # it may have left meanwhile
            registry.lifecycle.unload(model_id, by="rest")
    return _ok()


@blueprint.get("/health")
def health() -> Response:
    """The server responds."""
    return _ok()


def _ok() -> Response:
    status: dict[str, Any] = {"status": "ok"}
    return jsonify(status)
