"""REST: loads, models, predictions and the probes; its OpenAPI document is at /openapi.json."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from flask import Flask, Response
from flask import request as http_request
from flask_smorest import Api
from werkzeug.routing import PathConverter

from modelhub import outlook_wording
from modelhub.checkpoints import LoadOptions
from modelhub.config import CLI_USER_AGENT
from modelhub.core.journal import STATISTICS_OF_NEWEST
from modelhub.core.listing import Listing, matching
from modelhub.payloads import DeletedFiles, LoadResource, ModelResource, NodeStatus, Particulars, Snapshot
from modelhub.progress.schemas import EventSchema
from modelhub.states import Outcome
from modelhub.web import schemas
from modelhub.web.bodies import ApiBlueprint
from modelhub.web.clients import has_left
from modelhub.web.current import registry
from modelhub.web.security import csrf

_DESCRIPTION = (
    "Loads Hugging Face models and shows how that goes. The same state is sent as events over Socket.IO, at "
    "the server's address: see /docs/events. The body of every error is "
    '{"error": {"code", "message", "hint"}}. Where a token is asked for: "Authorization: Bearer TOKEN".'
)
_AT_ONCE = 50  # models
blueprint = ApiBlueprint("api", __name__, description="Load, watch, use and unload models.")


class ModelhubApi(Api):
    """flask-smorest with modelhub's error responses."""

    ERROR_SCHEMA = schemas.FailureSchema

    def _register_error_handlers(self) -> None:
        """web.error_handlers returns the errors of API and pages."""


def init_app(app: Flask) -> None:
    """Serve the API below /api, its document, and the probes."""
    app.config.from_mapping(
        API_TITLE="modelhub",
        API_VERSION="1",
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/",
        OPENAPI_JSON_PATH="openapi.json",
        # A token where the server asks for one.
        API_SPEC_OPTIONS={"info": {"description": _DESCRIPTION}, "security": [{}, {"token": []}]},
    )
    api = ModelhubApi(app)
    app.extensions["modelhub_api"] = api
    api.spec.components.security_scheme("token", {"type": "http", "scheme": "bearer"})
    # The paths of several parts are the ids of models.
    api.register_converter(PathConverter, lambda converter: {"type": "string", **schemas.MODEL_ID})
    csrf.exempt(blueprint)  # it takes JSON only, which another site's form cannot send
    api.register_blueprint(blueprint)


def _requested_by() -> str:
    """``cli`` for the command line, by its user agent; ``rest`` for any other client."""
    return "cli" if http_request.user_agent.string.startswith(CLI_USER_AGENT) else "rest"


@blueprint.post("/api/loads")
@blueprint.arguments(schemas.LoadRequest)
@blueprint.response(202, schemas.LoadSchema)
@blueprint.alt_response(200, schema=schemas.LoadSchema, description="It loads or is ready already.")
def start_load(request: dict[str, Any]) -> Any:
    """Load a model, or join the load that runs, unless the request names another device or data type."""
    model_id = request.pop("model")
    load, created = registry.lifecycle.start(model_id, by=_requested_by(), **request)
    return load if created else (load, 200)


@blueprint.get("/api/loads")
@blueprint.arguments(schemas.LoadQuery, location="query")
@blueprint.response(200, schemas.LoadList)
def list_loads(query: dict[str, Any]) -> dict[str, Any]:
    """The loads of all models, or of one, with any outcome or with one, the newest first."""
    model_id = query.get("model")
    outcome = Outcome(query["outcome"]) if "outcome" in query else None
    limit = query["limit"]
    found = registry.loads(model_id, outcome, limit + 1, query["offset"], query.get("before"))
    after_last = found[limit - 1]["load_id"] if len(found) > limit else None
    total = registry.journal.count(model_id, outcome)
    return {"loads": found[:limit], "total": total, "next": after_last}


@blueprint.get("/api/loads/<load_id>")
@blueprint.response(200, schemas.LoadDetail)
def get_load(load_id: str) -> dict[str, Any]:
    """One load with its timeline."""
    load = registry.load(load_id)
    return {**load, "timeline": registry.timeline(load)}


@blueprint.delete("/api/loads/<load_id>")
@blueprint.response(200, schemas.LoadSchema)
def cancel_load(load_id: str) -> LoadResource:
    """Cancel a load that waits or runs."""
    return registry.lifecycle.cancel(load_id, by=_requested_by())


@blueprint.get("/api/figures")
@blueprint.arguments(schemas.StatisticsQuery, location="query")
@blueprint.response(200, schemas.StatisticsSchema)
def get_statistics(query: dict[str, Any]) -> dict[str, Any]:
    """Of each model, or of one: how many loads, the share that succeeded, how long they took."""
    models = registry.journal.statistics(query.get("model"))
    return {"of_newest": STATISTICS_OF_NEWEST, "models": [model.to_dict() for model in models]}


@blueprint.get("/api/models")
@blueprint.arguments(schemas.ModelQuery, location="query")
@blueprint.response(200, schemas.ModelList)
def list_models(query: dict[str, Any]) -> Response:
    """The models that are on this machine and those that were requested, by id: all, or a part of them."""
    found = matching(registry.listing.all(), query["q"])
    end = query["offset"] + query["limit"] if "limit" in query else None
    ids = [one.model_id for one in found[query["offset"] : end]]
    return Response(_models_in_pieces(registry.listing, ids, len(found)), mimetype="application/json")


def _models_in_pieces(listing: Listing, ids: list[str], total: int) -> Iterator[str]:
    """A ``schemas.ModelList`` as JSON; between two pieces of a long one, other requests are served."""
    yield '{"models": ['
    for begin in range(0, len(ids), _AT_ONCE):
        models = listing.resources(ids[begin : begin + _AT_ONCE])
        yield (", " if begin else "") + ", ".join(map(json.dumps, models))
        time.sleep(0)
    yield f'], "total": {total}}}\n'


@blueprint.get("/api/models/<path:model_id>")
@blueprint.response(200, schemas.ModelSchema)
def get_model(model_id: str) -> ModelResource:
    """One model and its full state."""
    return registry.model(model_id)


@blueprint.delete("/api/models/<path:model_id>")
@blueprint.response(200, EventSchema)
def unload_model(model_id: str) -> Snapshot:
    """Unload a model; returns the receipt: memory before, after and freed, in bytes."""
    return registry.lifecycle.unload(model_id, by=_requested_by())


@blueprint.post("/api/models/<path:model_id>/replicas")
@blueprint.arguments(schemas.ReplicasRequest)
@blueprint.response(202, schemas.ModelSchema)
def scale_model(request: dict[str, Any], model_id: str) -> ModelResource:
    """Have so many copies of a ready model, on as many nodes; without a count, one more.

    Returns the model, whose snapshot has how far its replicas are; its events say the same.
    """
    registry.lifecycle.scale(model_id, request["count"], by=_requested_by())
    return registry.model(model_id)


@blueprint.delete("/api/models/<path:model_id>/replicas/<node>")
@blueprint.response(200, schemas.ModelSchema)
def end_replica(model_id: str, node: str) -> ModelResource:
    """End the copy of a model on a node; the first one too, where another one is ready."""
    registry.lifecycle.end_replica(model_id, node, by=_requested_by())
    return registry.model(model_id)


@blueprint.delete("/api/prepared/<path:model_id>")
@blueprint.response(200, schemas.ModelSchema)
def let_go(model_id: str) -> ModelResource:
    """Keep a model no longer prepared, one that is not in memory: frees what that takes."""
    registry.lifecycle.let_go(model_id)
    return registry.model(model_id)


@blueprint.delete("/api/files/<path:model_id>")
@blueprint.arguments(schemas.DeleteQuery, location="query")
@blueprint.response(200, schemas.DeletedFilesSchema)
def delete_files(query: dict[str, Any], model_id: str) -> DeletedFiles:
    """Delete a model's files from the cache (all revisions), the demos or, with own=yes, the models folder.

    Refused while the model loads or is in memory.
    """
    return registry.delete_files(model_id, own=query["own"] == "yes")


@blueprint.get("/api/plans")
@blueprint.arguments(schemas.PreviewQuery, location="query")
@blueprint.response(200, schemas.PreviewSchema)
def get_preview(query: dict[str, Any]) -> dict[str, Any]:
    """What loading a model would fetch, from where, and whether it fits; fails as the load would."""
    options = LoadOptions(device=query.get("device") or None, dtype=query.get("dtype") or None)
    preview = registry.preview(query["model"], options)
    return {**preview, "said": outlook_wording.preview(preview)}


@blueprint.get("/api/particulars/<path:model_id>")
@blueprint.arguments(schemas.ParticularsQuery, location="query")
@blueprint.response(200, schemas.ParticularsSchema)
def get_particulars(query: dict[str, Any], model_id: str) -> Particulars:
    """What the page of a model shows beside its state: its newest loads, what is expected of the next."""
    return registry.particulars(model_id, with_outlook=query["outlook"] == "yes")


@blueprint.get("/api/memory")
@blueprint.response(200, schemas.MemorySchema)
def get_memory() -> dict[str, int]:
    """Memory use by owner: models, loads under way, other programs; and what is free."""
    return registry.budget()._asdict()


@blueprint.get("/api/nodes")
@blueprint.response(200, schemas.NodeList)
def list_nodes() -> dict[str, list[NodeStatus]]:
    """The machines that load models: the nodes of the cluster, or this one."""
    return {"nodes": registry.nodes() or registry.lifecycle.nodes()}


@blueprint.post("/api/nodes/<name>/drain")
@blueprint.response(202, schemas.NodeSchema)
def drain_node(name: str) -> NodeStatus:
    """Have a node leave the cluster: no new loads; its models leave once nobody uses them, then it does.

    What takes longer than five minutes is ended.
    """
    return registry.lifecycle.drain(name, by=_requested_by())


@blueprint.post("/api/predictions")
@blueprint.arguments(schemas.PredictionRequest, examples=schemas.PREDICTION_EXAMPLES)
@blueprint.response(200, schemas.PredictionSchema)
def predict(request: dict[str, Any]) -> Response:
    """Run a loaded model on inputs.

    What they are depends on the model's task, which is in the model's snapshot. The prediction ends when the
    client closes the connection.
    """
    leaves = has_left(http_request.environ)
    text = registry.predict(request["model"], request["inputs"], request["parameters"], leaves)
    return Response(text, mimetype="application/json")


@blueprint.delete("/api/predictions/<prediction_id>")
@blueprint.response(200, schemas.StoppedSchema)
def stop_prediction(prediction_id: str) -> dict[str, str]:
    """End a prediction whose text is being written; its id is that of the answer."""
    return {"id": prediction_id, "model": registry.generations.cancel(prediction_id)}


@blueprint.get("/livez")
@blueprint.response(200, schemas.LivenessSchema)
def livez() -> dict[str, bool]:
    """The server responds."""
    return {"live": True}


@blueprint.get("/readyz")
@blueprint.response(200, schemas.ReadinessSchema)
@blueprint.alt_response(503, schema=schemas.ReadinessSchema, description="Not yet; the body says how far.")
def readyz() -> Any:
    """Whether loads start at once and the models of MODELHUB_PRELOAD are ready."""
    readiness = registry.readiness()
    return readiness if readiness["ready"] else (readiness, 503)
