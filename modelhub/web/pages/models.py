"""The pages: the dashboard, a page per model, and the forms that work without JavaScript."""

from __future__ import annotations

import json
import re
from typing import Any

from flask import Blueprint, Flask, Response, current_app, flash, redirect, render_template, request, url_for
from flask_wtf.csrf import CSRFError
from werkzeug.wrappers import Response as BaseResponse

from modelhub import units, wording
from modelhub.checkpoints import STEPS, TOTAL_STEPS
from modelhub.core.registry import Hub
from modelhub.errors import ModelhubError
from modelhub.progress import pace
from modelhub.web import error_handlers
from modelhub.web.pages import prediction_form, prediction_result, progress_chart

blueprint = Blueprint("dashboard", __name__)


def init_app(app: Flask) -> None:
    """Serve the pages and give the templates their words."""
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(
        size=units.size,
        rate=units.rate,
        duration=units.duration,
        count=units.count,
        moment=wording.moment,
        stamp=wording.stamp,
        describe=wording.describe,
        step_states=wording.step_states,
        step_times=wording.step_times,
        facts=wording.facts,
        actions=wording.actions,
        rank=wording.rank,
        kind=wording.kind,
        need=wording.need,
        entry=wording.entry,
        spark=progress_chart.spark,
        throughput=wording.throughput,
        last_time=wording.last_time,
        memory=wording.memory,
    )
    app.jinja_env.globals.update(
        STEPS=STEPS,
        PHASES=wording.PHASES,
        STATES=wording.STATES,
        SOURCES=wording.SOURCES,
        ASKERS=wording.ASKERS,
        UNDER_WAY=wording.UNDER_WAY,
    )
    app.register_error_handler(CSRFError, lambda _: error_handlers.answer(ModelhubError("form_expired")))
    app.register_blueprint(blueprint)


@blueprint.after_request
def never_stale(response: Response) -> Response:
    """A page is of the moment: no cache may keep it."""
    response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.get("/")
def index() -> str:
    """Every model, first those that need attention; ``?q=`` hides those whose id does not have it."""
    models = sorted(_hub().models(), key=lambda model: wording.rank(model["snapshot"]))
    search = request.args.get("q", "").strip()
    return render_template("dashboard.html", models=models, ledger=_hub().ledger(), search=search)


@blueprint.get("/models/<path:model_id>")
def model(model_id: str) -> str | tuple[str, int]:
    """One model; for an id that is not here, the offer to load it."""
    try:
        found = _hub().model(model_id)
    except ModelhubError as error:
        if error.code != "unknown_model":
            raise
        return render_template("error.html", error=error, model_id=model_id), error.status
    return _model_page(found)


def _model_page(model: dict[str, Any], **more: Any) -> str:
    snapshot, loads = model["snapshot"], _hub().loads(model["id"], limit=20)
    past = (load for load in loads if load["state"] in ("ready", "unloaded") and load["steps"])
    last = next((load for load in past if load["load_id"] != snapshot["load_id"]), None)
    return render_template(
        "model.html",
        model=model,
        loads=loads,
        last=last["steps"] if last is not None else [None] * TOTAL_STEPS,
        segments=progress_chart.segments(snapshot["shares"] or pace.expected_shares(model["size_bytes"])),
        trace=_hub().trace(model["id"]),
        form=prediction_form.form_of(snapshot.get("task")) if snapshot["state"] == "ready" else None,
        **more,
    )


@blueprint.get("/docs")
def docs() -> str:
    """The OpenAPI document as a page."""
    return render_template("docs.html", spec=current_app.extensions["modelhub_api"].spec.to_dict())


@blueprint.post("/loads")
def start_load() -> BaseResponse:
    """Load a model and go on to its page; or several, and to the dashboard, which tells the bad ones."""
    ids = list(dict.fromkeys(re.split(r"[\s,]+", request.form.get("model", "").strip(" ,\t\r\n"))))
    force = "force" in request.form
    if "preview" in request.form:
        for model_id in ids:
            flash(_preview(model_id), "note")
        return redirect(url_for("dashboard.index"), 303)
    if len(ids) == 1:
        _hub().request(ids[0], by="page", force=force)
        return _to_model(ids[0])
    refused = [error for model_id in ids if (error := _refusal(model_id, force)) is not None]
    if refused and error_handlers.wants_json():
        some = ModelhubError("some_refused")
        some.message = "\n".join(f"{error.message} {error.hint}" for error in refused)
        some.hint = "" if len(refused) == len(ids) else f"\n{some.hint}"
        raise some
    for error in refused:
        flash(f"{error.message} {error.hint}")
    return redirect(url_for("dashboard.index"), 303)


def _preview(model_id: str) -> str:
    """What loading the model would fetch, or why that cannot be said."""
    try:
        return f"{model_id}: {wording.plan(_hub().plan(model_id))}"
    except ModelhubError as error:
        return f"{error.message} {error.hint}"


def _refusal(model_id: str, force: bool) -> ModelhubError | None:
    """Ask for a load; answers why it was refused, if it was."""
    try:
        _hub().request(model_id, by="page", force=force)
    except ModelhubError as error:
        return error
    return None


@blueprint.post("/loads/<load_id>/cancel")
def cancel_load(load_id: str) -> BaseResponse:
    """Cancel a load that waits or runs."""
    return _to_model(_hub().cancel(load_id, by="page")["model_id"])


@blueprint.post("/models/<path:model_id>/unload")
def unload_model(model_id: str) -> BaseResponse:
    """Let a ready model leave memory."""
    _hub().unload(model_id, by="page")
    return _to_model(model_id)


@blueprint.post("/models/<path:model_id>/try")
def try_model(model_id: str) -> tuple[str, int]:
    """Run a prediction on what the page's form holds; answers the page with what came of it."""
    found = _hub().model(model_id)
    given, second = request.form.get("text", ""), request.form.get("second", "")
    try:
        prediction = _hub().predict(model_id, *_trial_inputs(found["snapshot"].get("task"), given, second))
    except ModelhubError as error:
        return _model_page(found, given=given, second=second, trouble=error), error.status
    answer = prediction_result.read(json.loads(prediction))
    return _model_page(found, given=given, second=second, answer=answer), 200


def _trial_inputs(task: str | None, text: str, second: str) -> tuple[Any, dict[str, Any]]:
    if prediction_form.form_of(task) is None:
        return text, {}  # the model's process says why that cannot be
    file = request.files.get("file")
    data = (file.read(), file.mimetype) if file is not None else (b"", "")
    return prediction_form.inputs_of(str(task), text, second, data)


def _to_model(model_id: str) -> BaseResponse:
    return redirect(url_for("dashboard.model", model_id=model_id), 303)


def _hub() -> Hub:
    hub: Hub = current_app.extensions["modelhub"]
    return hub
