"""OpenAI's API beside chat and text: responses, embeddings, transcriptions."""

from __future__ import annotations

from flask import Blueprint, Flask, Response, current_app, jsonify, request

from modelhub.web.clients import has_left
from modelhub.web.current import registry_of
from modelhub.web.dialects import documents, event_stream
from modelhub.web.dialects.answers import begin, begun, whole
from modelhub.web.dialects.fields import read_body
from modelhub.web.dialects.held import parts, ready
from modelhub.web.dialects.models import model_of
from modelhub.web.dialects.openai import answer_to
from modelhub.web.dialects.openai_documents import MORE_OPERATIONS
from modelhub.web.dialects.openai_embeddings import embeddings, embeddings_request
from modelhub.web.dialects.openai_errors import error_body
from modelhub.web.dialects.openai_response_events import ResponseEvents
from modelhub.web.dialects.openai_responses import response, response_request
from modelhub.web.dialects.openai_transcriptions import (
    tells_segments,
    transcribe,
    transcription,
    transcription_events,
    transcription_request,
)
from modelhub.web.security import csrf, refuse_silent_browser

blueprint = Blueprint("openai_more", __name__)


def init_app(app: Flask) -> None:
    """Serve the routes, after those of ``openai``, and describe them in the OpenAPI document."""
    csrf.exempt(blueprint)  # JSON; the form of a transcription asks the browser whose page it is
    app.register_blueprint(blueprint)
    documents.describe(app, MORE_OPERATIONS, {})


@blueprint.post("/v1/responses")
def create_response() -> Response:
    """Go on with a conversation; loads the model where it is not in memory."""
    fields = read_body()
    is_stream = fields.flag("stream")
    answer = answer_to(fields, response_request(fields))
    if not is_stream:
        return jsonify(response(answer, whole(answer)))
    events = ResponseEvents(answer)
    return event_stream.response(
        event_stream.answer_lines(begin(answer), events.frame, events.failed, end="")
    )


@blueprint.post("/v1/embeddings")
def create_embeddings() -> Response:
    """Turn texts into numbers; loads the model where it is not in memory."""
    fields = read_body()
    wanted = embeddings_request(fields)
    registry = registry_of(current_app)
    model_id = model_of(registry, fields.text("model"))
    pieces = embeddings(registry, model_id, wanted, has_left(request.environ))
    return Response(pieces, mimetype="application/json")


@blueprint.post("/v1/audio/transcriptions")
def create_transcription() -> Response:
    """Write down what is said; loads the model where it is not in memory."""
    refuse_silent_browser()
    wanted = transcription_request()
    registry = registry_of(current_app)
    model_id, leaves = model_of(registry, wanted.model), has_left(request.environ)

    def run() -> bytes:
        return transcribe(registry, model_id, wanted, leaves)

    if wanted.stream:
        found = begun(parts(registry, model_id, leaves, run))
        lines = event_stream.answer_lines(
            found,
            lambda prediction: transcription_events(wanted, prediction),
            lambda error: (error_body(error),),
        )
        return event_stream.response(lines)
    ready(registry, model_id, "rest", leaves)
    has_segments = tells_segments(registry, model_id, wanted)  # before its answer, after which it may leave
    answer = transcription(wanted, run(), has_segments)
    if wanted.format == "text":
        return Response(answer["text"] + "\n", mimetype="text/plain")
    return jsonify(answer)
