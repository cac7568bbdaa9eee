"""The pages of models: the dashboard, a page per model, and the forms that work without JavaScript."""

from __future__ import annotations

import json
import re
from typing import Any

from flask import Blueprint, Flask, current_app, flash, redirect, render_template, request, url_for
from flask_wtf.csrf import CSRFError
from werkzeug.wrappers import Response

from modelhub import units, wording
from modelhub.checkpoints import STEPS, TOTAL_STEPS
from modelhub.core.follow import to_fetch
from modelhub.errors import ModelhubError
from modelhub.payloads import ModelResource
from modelhub.progress import pace
from modelhub.states import CHANGING, State
from modelhub.tasks import TASKS
from modelhub.web import error_handlers
from modelhub.web.current import registry
from modelhub.web.pages import (
    live,
    load_wording,
    model_wording,
    prediction_form,
    prediction_result,
    progress_chart,
)
from modelhub.web.security import never_cached

blueprint = Blueprint("models", __name__)
blueprint.after_request(never_cached)


def init_app(app: Flask) -> None:
    """Serve the pages, and give the templates their filters."""
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(
        size=units.size,
        duration=units.duration,
        count=units.count,
        moment=load_wording.moment,
        words=model_wording.page_words,
        facts=model_wording.facts,
        last_time=model_wording.last_time,
        log_line=model_wording.log_line,
        need=wording.need,
        memory_parts=wording.memory_parts,
    )
    app.jinja_env.globals.update(
        STEPS=STEPS,
        State=State,
        CHANGING=CHANGING,
        UNKNOWN=wording.UNKNOWN,
        PHASE_NAMES=wording.PHASE_NAMES,
        STATE_NAMES=wording.STATE_NAMES,
        SOURCE_NAMES=wording.SOURCE_NAMES,
        REQUESTED_BY=wording.REQUESTED_BY,
        outcome=load_wording.outcome,
    )
    app.register_error_handler(
        CSRFError, lambda _: error_handlers.error_response(ModelhubError("form_expired"))
    )
    app.register_blueprint(blueprint)


@blueprint.get("/")
def index() -> str:
    """Every model, those that need attention first; ``?q=`` hides those whose id does not contain it."""
    models = sorted(registry.models(), key=lambda model: wording.rank(model["snapshot"]))
    search = request.args.get("q", "").strip()
    return render_template(
        "dashboard.html",
        models=models,
        budget=registry.budget(),
        search=search,
        models_dir=registry.settings.models_dir.absolute(),
    )


@blueprint.get("/models/<path:model_id>")
def model(model_id: str) -> str | tuple[str, int] | Response:
    """One model; for an id that is not on this machine, the offer to load it."""
    try:
        found = registry.model(model_id)
    except ModelhubError as error:
        if error.code != "unknown_model":
            raise
        plain_id = registry.catalogue.id_of(model_id)
        return render_template("error.html", error=error, model_id=plain_id), error.status
    return _model_page(found) if found["id"] == model_id else _redirect_to(found["id"])


def _model_page(model: ModelResource, **form: Any) -> str:
    """The page; ``form`` is what the prediction form held, and its result or failure."""
    snapshot, trace = model["snapshot"], registry.adapter.trace(model["id"])
    loads = registry.loads(model["id"], limit=20)
    past = (load for load in loads if load["state"] in (State.READY, State.UNLOADED) and load["steps"])
    last = next((load for load in past if load["load_id"] != snapshot["load_id"]), None)
    charts = live.charts(snapshot, trace)
    segments = charts["segments"] or progress_chart.segments(_expected_shares(model))
    is_ready = snapshot["state"] == State.READY
    return render_template(
        "model.html",
        model=model,
        loads=loads,
        last_times=last["steps"] if last is not None else [None] * TOTAL_STEPS,
        charts=charts,
        segments=segments,
        log=trace.lines,
        form=prediction_form.form_of(snapshot.get("task")) if is_ready else None,
        task_title=prediction_form.title_of(snapshot.get("task")),
        **form,
    )


def _expected_shares(model: ModelResource) -> list[float]:
    fetch = to_fetch(registry.catalogue.find(model["id"]), registry.settings.demo_dir)
    return pace.expected_shares(model["size_bytes"], fetch.seconds if fetch else 0.0)


@blueprint.get("/docs")
def docs() -> str:
    """The OpenAPI document as a page."""
    spec = current_app.extensions["modelhub_api"].spec.to_dict()
    return render_template("docs.html", spec=spec, tasks=TASKS)


@blueprint.post("/loads")
def start_load() -> Response:
    """Load a model and redirect to its page; of several ids, to the dashboard, with the refused ones."""
    text = request.form.get("model", "").strip(" ,\t\r\n")
    # The name of a folder may have spaces, which otherwise part the ids.
    ids = [text] if text in registry.catalogue.entries() else list(dict.fromkeys(re.split(r"[\s,]+", text)))
    force = "force" in request.form
    if "preview" in request.form:
        for model_id in ids:
            flash(_preview(model_id), "note")
        return redirect(url_for("models.index"), 303)
    if len(ids) == 1:
        load, _ = registry.lifecycle.start(ids[0], by="page", force=force)
        return _redirect_to(load["model_id"])
    refused = [error for model_id in ids if (error := _refusal(model_id, force)) is not None]
    if refused and error_handlers.wants_json():
        raise _some_refused(refused, is_all=len(refused) == len(ids))
    for error in refused:
        flash(f"{error.message} {error.hint}")
    return redirect(url_for("models.index"), 303)


def _some_refused(refused: list[ModelhubError], is_all: bool) -> ModelhubError:
    """One error for several, as the script of the page shows it: a line for each."""
    some = ModelhubError("some_refused")
    some.message = "\n".join(f"{error.message} {error.hint}" for error in refused)
    some.hint = "" if is_all else f"\n{some.hint}"
    return some


def _preview(model_id: str) -> str:
    """What loading the model would fetch, or why that is not known."""
    try:
        preview = registry.preview(model_id)
        return f"{preview['id']}: {wording.preview(preview)}"
    except ModelhubError as error:
        return f"{error.message} {error.hint}"


def _refusal(model_id: str, force: bool) -> ModelhubError | None:
    """Start a load; return why it was refused, if it was."""
    try:
        registry.lifecycle.start(model_id, by="page", force=force)
    except ModelhubError as error:
        return error
    return None


@blueprint.post("/loads/<load_id>/cancel")
def cancel_load(load_id: str) -> Response:
    """Cancel a load that waits or runs."""
    return _redirect_to(registry.lifecycle.cancel(load_id, by="page")["model_id"])


@blueprint.post("/models/<path:model_id>/unload")
def unload_model(model_id: str) -> Response:
    """Unload a ready model; one in use, or that has only just become ready, not before it was asked."""
    if "sure" not in request.form:
        registry.lifecycle.check_idle(model_id)
    registry.lifecycle.unload(model_id, by="page")
    return _redirect_to(model_id)


@blueprint.post("/models/<path:model_id>/dismiss")
def dismiss(model_id: str) -> Response:
    """Forget how the latest load of a model ended."""
    registry.dismiss(model_id)
    return redirect(url_for("models.index"), 303)


@blueprint.post("/models/<path:model_id>/try")
def try_model(model_id: str) -> tuple[str, int]:
    """Run a prediction on what the page's form holds; returns the page with the result."""
    found = registry.model(model_id)
    given, second = request.form.get("text", ""), request.form.get("second", "")
    try:
        inputs = _prediction_inputs(found["snapshot"].get("task"), given, second)
        prediction = json.loads(registry.predict(model_id, *inputs))
    except ModelhubError as error:
        return _model_page(found, given=given, second=second, failure=error), error.status
    return _model_page(found, given=given, second=second, result=prediction_result.read(prediction)), 200


def _prediction_inputs(task: str | None, text: str, second: str) -> tuple[Any, dict[str, Any]]:
    if prediction_form.form_of(task) is None:
        return text, {}  # the model's process explains why it cannot predict
    uploads = [(file.read(), file.mimetype) for file in request.files.getlist("file")]
    return prediction_form.inputs_of(str(task), text, second, uploads)


def _redirect_to(model_id: str) -> Response:
    return redirect(url_for("models.model", model_id=model_id), 303)
