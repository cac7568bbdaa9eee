"""The pages: the dashboard, a page per model, and the forms that work without JavaScript."""

from __future__ import annotations

from flask import Blueprint, Flask, Response, current_app, redirect, render_template, request, url_for
from flask_wtf.csrf import CSRFError
from werkzeug.wrappers import Response as BaseResponse

from modelhub import phrases, words
from modelhub.checkpoints import STEPS
from modelhub.errors import ModelhubError
from modelhub.hub import Hub
from modelhub.web import failures

_ATTENTION = ("loading", "unloading", "queued", "failed", "cancelled", "ready", "absent")
blueprint = Blueprint("dashboard", __name__)


def init_app(app: Flask) -> None:
    """Serve the pages and give the templates their words."""
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(
        size=words.size,
        rate=words.rate,
        duration=words.duration,
        count=words.count,
        moment=phrases.moment,
        stamp=phrases.stamp,
        describe=phrases.describe,
        step_states=phrases.step_states,
        step_times=phrases.step_times,
        facts=phrases.facts,
    )
    app.jinja_env.globals.update(
        STEPS=STEPS,
        PHASES=phrases.PHASES,
        STATES=phrases.STATES,
        SOURCES=phrases.SOURCES,
        ASKERS=phrases.ASKERS,
        UNDER_WAY=phrases.UNDER_WAY,
    )
    app.register_error_handler(CSRFError, lambda _: failures.answer(ModelhubError("form_expired")))
    app.register_blueprint(blueprint)


@blueprint.after_request
def never_stale(response: Response) -> Response:
    """A page is of the moment: no cache may keep it."""
    response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.get("/")
def index() -> str:
    """Every model, first those that need attention."""
    models = sorted(_hub().models(), key=lambda model: _ATTENTION.index(model["state"]))
    return render_template("dashboard.html", models=models)


@blueprint.get("/models/<path:model_id>")
def model(model_id: str) -> str | tuple[str, int]:
    """One model; for an id that is not here, the offer to load it."""
    try:
        found = _hub().model(model_id)
    except ModelhubError as error:
        if error.code != "unknown_model":
            raise
        return render_template("error.html", error=error, model_id=model_id), error.status
    return render_template("model.html", model=found, loads=_hub().loads(model_id, limit=20))


@blueprint.get("/docs")
def docs() -> str:
    """The OpenAPI document as a page."""
    return render_template("docs.html", spec=current_app.extensions["modelhub_api"].spec.to_dict())


@blueprint.post("/loads")
def start_load() -> BaseResponse:
    """Load a model; goes on to its page."""
    model_id = request.form.get("model", "").strip()
    _hub().request(model_id, by="page", force="force" in request.form)
    return _to_model(model_id)


@blueprint.post("/loads/<load_id>/cancel")
def cancel_load(load_id: str) -> BaseResponse:
    """Cancel a load that waits or runs."""
    return _to_model(_hub().cancel(load_id, by="page")["model_id"])


@blueprint.post("/models/<path:model_id>/unload")
def unload_model(model_id: str) -> BaseResponse:
    """Let a ready model leave memory."""
    _hub().unload(model_id, by="page")
    return _to_model(model_id)


def _to_model(model_id: str) -> BaseResponse:
    return redirect(url_for("dashboard.model", model_id=model_id), 303)


def _hub() -> Hub:
    hub: Hub = current_app.extensions["modelhub"]
    return hub
