"""REST: loads, models, predictions and the probes; its OpenAPI document is at /openapi.json."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, current_app
from flask import request as http_request
from flask_smorest import Api, Blueprint
from marshmallow import Schema, validate
from marshmallow.fields import Boolean, Dict, Float, Integer, List, Nested, Raw, String

from modelhub import wording
from modelhub.config import CLI_USER_AGENT
from modelhub.core.journal import FIGURES_OF_NEWEST
from modelhub.core.registry import Hub
from modelhub.progress.schemas import STATES, ErrorSchema, EventSchema
from modelhub.web.schemas import Figures, FiguresQuery, LoadDetail, LoadList, LoadQuery, LoadResource
from modelhub.web.security import csrf

SOURCES = ("folder", "cache", "demo", "hub")
blueprint = Blueprint("api", __name__, description="Load, watch, use and unload models.")


class FailureSchema(Schema):
    """What every failure answers."""

    error = Nested(ErrorSchema, required=True)


class LoadRequest(Schema):
    """Which model to load."""

    model = String(required=True, metadata={"description": "name, org/name or org/name@revision"})
    force = Boolean(load_default=False, metadata={"description": "Load also where memory seems too small."})


class ModelResource(Schema):
    """One model. ``size_bytes`` is that of its weights, null where it is not known yet."""

    id = String()
    source = String(validate=validate.OneOf(SOURCES))
    size_bytes = Integer(allow_none=True)
    fits = Boolean(
        allow_none=True,
        metadata={"description": "Whether its weights fit into free memory; null if unknown, or in memory."},
    )
    random_weights = Boolean()
    state = String(validate=validate.OneOf(STATES))
    snapshot = Nested(EventSchema)


class ModelList(Schema):
    """Models by id."""

    models = List(Nested(ModelResource))


class PlanQuery(Schema):
    """Of which model."""

    model = String(required=True, metadata={"description": "name, org/name or org/name@revision"})


class PlanResource(Schema):
    """What a load would bring: nothing is fetched to say it, the hub is asked for its list of files only."""

    id = String()
    source = String(validate=validate.OneOf(SOURCES))
    revision = String(allow_none=True, metadata={"description": "The commit, where there is one."})
    files = Integer()
    size_bytes = Integer(metadata={"description": "Of the weights: what they will take in memory."})
    fetch_files = Integer(metadata={"description": "How many files are not on this machine yet."})
    fetch_bytes = Integer()
    free_bytes = Integer(metadata={"description": "Memory that a new load may take."})
    fits = Boolean()
    said = String(metadata={"description": "All of it in words."})


class MemoryResource(Schema):
    """Whose the memory is, in bytes; ``free`` is what a new load may take."""

    total = Integer()
    models = Integer()
    loading = Integer(metadata={"description": "Of loads under way, once they have said what they need."})
    other = Integer()
    free = Integer()
    model_count = Integer()
    load_count = Integer()


class PredictionRequest(Schema):
    """What to predict from: what the pipeline of the model's task takes, images as data: URIs."""

    model = String(required=True)
    inputs = Raw(required=True)
    parameters = Dict(keys=String(), load_default=dict)


class Prediction(Schema):
    """What a model made of its inputs, and in how many seconds."""

    model = String()
    task = String()
    outputs = Raw()
    seconds = Float()


class Readiness(Schema):
    """Whether loads start at once and the models of MODELHUB_PRELOAD are ready."""

    ready = Boolean()
    workers = Dict()
    preload = Dict(keys=String(), values=String())


class HubApi(Api):
    """flask-smorest with the failures of this house."""

    ERROR_SCHEMA = FailureSchema

    def _register_error_handlers(self) -> None:
        """Failures are answered in one place for API and pages: modelhub.web.error_handlers."""


def init_app(app: Flask) -> None:
    """Serve the API below /api, its document, and the probes."""
    app.config.from_mapping(
        API_TITLE="modelhub",
        API_VERSION="1",
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/",
        OPENAPI_JSON_PATH="openapi.json",
    )
    api = HubApi(app)
    app.extensions["modelhub_api"] = api
    csrf.exempt(blueprint)  # it takes JSON only, which another site's form cannot send
    api.register_blueprint(blueprint)


def _hub() -> Hub:
    hub: Hub = current_app.extensions["modelhub"]
    return hub


def _asker() -> str:
    """Who asks over REST: ``cli`` is the flask command, which says so in its user agent."""
    return "cli" if http_request.user_agent.string.startswith(CLI_USER_AGENT) else "rest"


@blueprint.post("/api/loads")
@blueprint.arguments(LoadRequest)
@blueprint.response(202, LoadResource)
@blueprint.alt_response(200, schema=LoadResource, description="It loads or is ready already.")
def start_load(request: dict[str, Any]) -> Any:
    """Load a model, or join the load that runs."""
    load, created = _hub().request(request["model"], by=_asker(), force=request["force"])
    return load if created else (load, 200)


@blueprint.get("/api/loads")
@blueprint.arguments(LoadQuery, location="query")
@blueprint.response(200, LoadList)
def list_loads(query: dict[str, Any]) -> dict[str, Any]:
    """The loads of all models, or of one, with any outcome or with one, the newest first."""
    hub, model_id, outcome = _hub(), query.get("model"), query.get("outcome")
    loads = hub.loads(model_id, outcome, query["limit"], query["offset"])
    return {"loads": loads, "total": hub.journal.count(model_id, outcome)}


@blueprint.get("/api/loads/<load_id>")
@blueprint.response(200, LoadDetail)
def get_load(load_id: str) -> dict[str, Any]:
    """One load with its timeline."""
    load = _hub().load(load_id)
    return {**load, "timeline": _hub().timeline(load)}


@blueprint.delete("/api/loads/<load_id>")
@blueprint.response(200, LoadResource)
def cancel_load(load_id: str) -> dict[str, Any]:
    """Cancel a load that waits or runs."""
    return _hub().cancel(load_id, by=_asker())


@blueprint.get("/api/figures")
@blueprint.arguments(FiguresQuery, location="query")
@blueprint.response(200, Figures)
def get_figures(query: dict[str, Any]) -> dict[str, Any]:
    """Of each model, or of one: how many loads, the share that succeeded, how long they took."""
    figures = _hub().journal.figures(query.get("model"))
    return {"of_newest": FIGURES_OF_NEWEST, "models": [one.to_dict() for one in figures]}


@blueprint.get("/api/models")
@blueprint.response(200, ModelList)
def list_models() -> dict[str, Any]:
    """The models that are here, and those that were asked for."""
    return {"models": _hub().models()}


@blueprint.get("/api/models/<path:model_id>")
@blueprint.response(200, ModelResource)
def get_model(model_id: str) -> dict[str, Any]:
    """One model and its full state."""
    return _hub().model(model_id)


@blueprint.delete("/api/models/<path:model_id>")
@blueprint.response(200, EventSchema)
def unload_model(model_id: str) -> dict[str, Any]:
    """Unload a model; answers with the receipt: memory before, after and freed, in bytes."""
    return _hub().unload(model_id, by=_asker())


@blueprint.get("/api/plans")
@blueprint.arguments(PlanQuery, location="query")
@blueprint.response(200, PlanResource)
def get_plan(query: dict[str, Any]) -> dict[str, Any]:
    """What loading a model would fetch, from where, and whether it fits; fails as the load would."""
    plan = _hub().plan(query["model"])
    return {**plan, "said": wording.plan(plan)}


@blueprint.get("/api/memory")
@blueprint.response(200, MemoryResource)
def get_memory() -> dict[str, Any]:
    """Whose the memory is: models, loads under way, other programs; and what is free."""
    return _hub().ledger()._asdict()


@blueprint.post("/api/predictions")
@blueprint.arguments(PredictionRequest)
@blueprint.response(200, Prediction)
def predict(request: dict[str, Any]) -> Response:
    """Run a loaded model on inputs."""
    text = _hub().predict(request["model"], request["inputs"], request["parameters"])
    return Response(text, mimetype="application/json")


@blueprint.get("/livez")
def livez() -> dict[str, Any]:
    """The server answers."""
    return {"live": True}


@blueprint.get("/readyz")
@blueprint.response(200, Readiness)
@blueprint.alt_response(503, schema=Readiness, description="Not yet; the body says how far.")
def readyz() -> Any:
    """Whether loads start at once and the models of MODELHUB_PRELOAD are ready."""
    readiness = _hub().readiness()
    return readiness if readiness["ready"] else (readiness, 503)
