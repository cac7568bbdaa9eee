"""Ollama's API, so that its clients work with modelhub: what they ask for, by the core's own functions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from flask import Blueprint, Flask, Response, current_app, jsonify, request

from modelhub.core.model_card import read_template
from modelhub.core.registry import Registry
from modelhub.errors import ModelhubError
from modelhub.generation import Frame, GenerationRequest
from modelhub.web.clients import has_left
from modelhub.web.current import registry, registry_of
from modelhub.web.dialects import ollama_embed, ollama_models, ollama_pull
from modelhub.web.dialects import ollama_requests as requests
from modelhub.web.dialects.answers import Answer, Loading, Part, begin, whole
from modelhub.web.dialects.fields import Fields
from modelhub.web.dialects.keeping import keep_s
from modelhub.web.dialects.ollama_answers import Shape, failure_text, line
from modelhub.web.error_handlers import RETRY_AFTER_S, shape_errors
from modelhub.web.security import csrf

# That of the Ollama whose API this is: clients look whether it is new enough for them.
_SPOKEN_VERSION = "0.12.11"
_BY = "ollama"
_SILENCE_S = 5.0
_OTHERS = ("/api/copy", "/api/create", "/api/push", "/api/blobs")  # modelhub has none of them, and says so
blueprint = Blueprint("ollama", __name__)


def init_app(app: Flask) -> None:
    """Serve the API, with failures as its clients read them."""
    csrf.exempt(blueprint)  # a page of another site is refused by web.gate
    app.register_blueprint(blueprint)
    rules = (rule.rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith("ollama."))
    shape_errors(app, (*rules, *_OTHERS), _failed)


@blueprint.get("/api/version")
def version() -> Response:
    """Which API this is."""
    return jsonify({"version": _SPOKEN_VERSION})


@blueprint.get("/api/tags")
def tags() -> Response:
    """The models on this machine."""
    return jsonify({"models": ollama_models.tags(registry)})


@blueprint.post("/api/show")
def show() -> Response:
    """What is known of one model."""
    return jsonify(ollama_models.show(registry, _model_id(requests.read_fields())))


@blueprint.get("/api/ps")
def processes() -> Response:
    """The models in memory."""
    return jsonify({"models": ollama_models.processes(registry)})


@blueprint.post("/api/chat")
def chat() -> Response:
    """Answer a chat; without messages, load the model or unload it."""
    fields = requests.read_fields()
    shape = Shape(_model_id(fields), is_chat=True)
    return _respond(fields, requests.chat_request(fields), shape)


@blueprint.post("/api/generate")
def generate() -> Response:
    """Continue a prompt; without one, load the model or unload it."""
    fields = requests.read_fields()
    shape = Shape(_model_id(fields), is_chat=False)
    entry = registry.catalogue.find(shape.model_id)
    chats = entry is None or entry.folder is None or bool(read_template(entry.folder))
    return _respond(fields, requests.generate_request(fields, chats), shape)


@blueprint.post("/api/embed")
def embed() -> Response:
    """Turn texts into numbers."""
    fields = requests.read_fields()
    found = _embedded(fields, requests.texts_to_embed(fields))
    return Response(found.pieces(), mimetype="application/json")


@blueprint.post("/api/embeddings")
def embeddings() -> Response:
    """The same for one text, as older clients ask for it."""
    fields = requests.read_fields()
    prompt = fields.text("prompt")
    found = _embedded(fields, [prompt] if prompt else [])
    return jsonify({"embedding": found.vectors[0] if found.vectors else []})


@blueprint.post("/api/pull")
def pull() -> Response:
    """Fetch a model from the hub, and load it."""
    fields = requests.read_fields()
    news = ollama_pull.pull(_core(), _model_id(fields), _BY, _leaves())
    return _streamed(news) if requests.streams(fields) else jsonify([*news][-1])


@blueprint.delete("/api/delete")
def delete() -> Response:
    """Delete the files of a model."""
    registry.delete_files(requests.model_name(requests.read_fields()))
    return Response(status=200)


def _failed(error: ModelhubError) -> Response:
    response = jsonify({"error": failure_text(error)})
    response.status_code = error.status
    if error.code in RETRY_AFTER_S:
        response.headers["Retry-After"] = RETRY_AFTER_S[error.code]
    return response


def _core() -> Registry:
    """The registry, also for what goes on once the request is no longer the current one."""
    return registry_of(current_app)


def _leaves() -> Callable[[], bool]:
    return has_left(request.environ)


def _model_id(fields: Fields) -> str:
    return registry.catalogue.id_of(requests.model_name(fields))


def _embedded(fields: Fields, texts: list[str]) -> ollama_embed.Embedded:
    parameters = requests.embedding_parameters(fields)
    return ollama_embed.embed(_core(), _model_id(fields), texts, _BY, _leaves(), keep_s(fields), parameters)


def _respond(fields: Fields, asked: GenerationRequest | None, shape: Shape) -> Response:
    core, keep, leaves, streams = _core(), keep_s(fields), _leaves(), requests.streams(fields)
    if asked is None:
        news = _unloaded(core, shape) if keep == 0 else _loaded(core, shape, leaves, keep)
        return _streamed(news) if streams else jsonify([*news][-1])
    answer = Answer(core, shape.model_id, asked, by=_BY, has_left=leaves, keep_s=keep)
    if streams:
        return _streamed(_parts(begin(answer), shape))
    return jsonify(shape.part(_as_frame(answer)))


def _as_frame(answer: Answer) -> Frame:
    """The whole answer as if it had come at once."""
    found = whole(answer)
    return {
        "text": found.text,
        "reasoning": found.reasoning,
        "tool_calls": found.tool_calls,
        "logprobs": found.logprobs,
        "finish": found.finish,
    }


def _parts(parts: Iterable[Part], shape: Shape) -> Iterator[dict[str, Any]]:
    """The objects of a stream, none of them more than five seconds after the last."""
    said_at = time.monotonic()
    for part in parts:
        if isinstance(part, Loading):
            yield shape.loading(part.snapshot)
        elif part is not None:
            yield shape.part(part)
        elif time.monotonic() - said_at >= _SILENCE_S - 1:
            yield shape.silence()
        else:
            continue
        said_at = time.monotonic()


def _loaded(
    core: Registry, shape: Shape, leaves: Callable[[], bool], keep: float | None
) -> Iterator[dict[str, Any]]:
    """Load a model, and have it stay as long as the client says."""
    for snapshot in core.on_demand.ready(shape.model_id, _BY, leaves):
        yield shape.loading(snapshot)
    use = core.lifecycle.loaded(shape.model_id).use
    use.begin()
    use.end(keep)
    yield shape.done("load")


def _unloaded(core: Registry, shape: Shape) -> Iterator[dict[str, Any]]:
    """Have a model leave memory, if it is there."""
    try:
        core.lifecycle.unload(shape.model_id, by=_BY)
    except ModelhubError as error:
        if error.code != "wrong_state":
            raise
    yield shape.done("unload")


def _streamed(objects: Iterator[Mapping[str, Any]]) -> Response:
    """A stream of JSON lines; what fails before the first one has its own status, later it is a line."""
    first = next(objects)

    def lines() -> Iterator[str]:
        try:
            yield line(first)
            for one in objects:
                yield line(one)
        except ModelhubError as error:
            yield line({"error": failure_text(error)})

    return Response(lines(), mimetype="application/x-ndjson", headers={"X-Accel-Buffering": "no"})
