"""OpenAI's API: models, chat completions and completions, for the clients that people already have."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from flask import Blueprint, Flask, Response, current_app, jsonify, request

from modelhub.errors import ModelhubError
from modelhub.generation import Frame, GenerationRequest
from modelhub.web.clients import has_left
from modelhub.web.current import registry_of
from modelhub.web.dialects import documents
from modelhub.web.dialects.answers import Answer, begin, whole
from modelhub.web.dialects.event_stream import answer_lines, response
from modelhub.web.dialects.fields import Fields, read_body
from modelhub.web.dialects.keeping import keep_s
from modelhub.web.dialects.models import is_here, model_of, usable_models
from modelhub.web.dialects.openai_chat import ChatChunks, chat_completion
from modelhub.web.dialects.openai_completions import CompletionChunks, completion
from modelhub.web.dialects.openai_documents import OPERATIONS, SCHEMAS
from modelhub.web.dialects.openai_errors import error_body, error_response
from modelhub.web.dialects.openai_requests import chat_request, completion_request
from modelhub.web.error_handlers import shape_errors
from modelhub.web.security import csrf

PREFIX = "/v1"
blueprint = Blueprint("openai", __name__)
_STARTED = int(time.time())  # nothing says when a model was made
_OWNER = "modelhub"


def init_app(app: Flask) -> None:
    """Serve the API below /v1, and describe it in the OpenAPI document."""
    csrf.exempt(blueprint)  # no cookie is needed; what it takes beside JSON says where it comes from
    app.register_blueprint(blueprint)
    shape_errors(app, (PREFIX,), error_response)
    documents.describe(app, OPERATIONS, SCHEMAS)


@blueprint.get("/v1/models")
def list_models() -> Response:
    """The models that can be used: those on this machine, in memory or not."""
    found = [_model(one.model_id, one.state) for one in usable_models(registry_of(current_app))]
    return jsonify({"object": "list", "data": found})


@blueprint.get("/v1/models/<path:model_id>")
def get_model(model_id: str) -> Response:
    """One model."""
    registry = registry_of(current_app)
    found = registry.model(model_of(registry, model_id))
    if not is_here(registry, found["id"], found["state"]):
        raise ModelhubError.not_here(found["id"])
    return jsonify(_model(found["id"], found["state"]))


def _model(model_id: str, state: str) -> dict[str, Any]:
    return {"id": model_id, "object": "model", "created": _STARTED, "owned_by": _OWNER, "state": state}


@blueprint.post("/v1/chat/completions")
def create_chat_completion() -> Response:
    """Go on with a chat; loads the model where it is not in memory."""
    fields = read_body()
    is_stream, include_usage = _stream(fields)
    answer = answer_to(fields, chat_request(fields))
    if is_stream:
        return stream(answer, ChatChunks(answer, include_usage))
    return jsonify(chat_completion(answer, whole(answer)))


@blueprint.post("/v1/completions")
def create_completion() -> Response:
    """Go on with a text as it is; loads the model where it is not in memory."""
    fields = read_body()
    is_stream, include_usage = _stream(fields)
    wanted, echo = completion_request(fields)
    answer = answer_to(fields, wanted)
    if is_stream:
        return stream(answer, CompletionChunks(answer, include_usage, echo))
    return jsonify(completion(answer, whole(answer), echo))


def answer_to(fields: Fields, wanted: GenerationRequest) -> Answer:
    """What the model of the request will write; raises BadField."""
    registry = registry_of(current_app)
    return Answer(
        registry,
        model_of(registry, fields.text("model")),
        wanted,
        by="rest",
        has_left=has_left(request.environ),
        keep_s=keep_s(fields),
    )


def stream(answer: Answer, encode: Callable[[Frame], Iterable[dict[str, Any]]]) -> Response:
    """The answer as events; raises what fails at once."""
    return response(answer_lines(begin(answer), encode, lambda error: (error_body(error),)))


def _stream(fields: Fields) -> tuple[bool, bool]:
    """Whether to stream, and whether a last chunk is to have the usage."""
    options = fields.object("stream_options")
    return bool(fields.flag("stream")), options is not None and bool(options.flag("include_usage"))
