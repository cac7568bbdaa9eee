"""The forms of the pages, which work without JavaScript: load, cancel, unload, dismiss, delete, try..."""

from __future__ import annotations

import json
import re
from typing import Any

from flask import Blueprint, Flask, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from modelhub import outlook_wording, units
from modelhub.checkpoints import LoadOptions
from modelhub.errors import ModelhubError
from modelhub.payloads import LoadResource
from modelhub.states import State
from modelhub.web import error_handlers
from modelhub.web.clients import has_left
from modelhub.web.current import registry
from modelhub.web.pages import prediction_form, prediction_result
from modelhub.web.pages.models import model_page
from modelhub.web.schemas import LoadRequest

blueprint = Blueprint("forms", __name__)


def init_app(app: Flask) -> None:
    """Accept the forms."""
    app.register_blueprint(blueprint)


@blueprint.post("/loads")
def start_load() -> Response:
    """Load a model and redirect to its page; of several ids, to the dashboard, with the refused ones."""
    text = request.form.get("model", "").strip(" ,\t\r\n")
    # The name of a folder may have spaces, which otherwise part the ids.
    ids = [text] if text in registry.catalogue.entries() else list(dict.fromkeys(re.split(r"[\s,]+", text)))
    if "preview" in request.form:
        for model_id in ids:
            flash(_preview(model_id), "note")
        return redirect(url_for("models.index"), 303)
    if len(ids) == 1:
        return _redirect_to(_start(ids[0])["model_id"])
    refused = [error for model_id in ids if (error := _refusal(model_id)) is not None]
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
    chosen: dict[str, Any] = {name: request.form.get(name) or None for name in ("device", "dtype")}
    try:
        if wrong := LoadRequest().validate({"model": model_id, **chosen}):
            raise ModelhubError("invalid_request", why=error_handlers.in_words(wrong))
        preview = registry.preview(model_id, LoadOptions(**chosen))
        return f"{preview['id']}: {outlook_wording.preview(preview)}"
    except ModelhubError as error:
        return f"{error.message} {error.hint}"


def _start(model_id: str) -> LoadResource:
    """Start a load with the options of the form; one that is empty is that of the settings."""
    chosen: dict[str, Any] = {name: request.form.get(name) or None for name in ("device", "dtype")}
    force, replaces = "force" in request.form, request.form.getlist("replaces")
    wrong = LoadRequest().validate({"model": model_id, "replaces": replaces, **chosen})
    if wrong:
        raise ModelhubError("invalid_request", why=error_handlers.in_words(wrong))
    for other in replaces:
        if "sure" not in request.form and registry.snapshot(other)["state"] == State.READY:
            registry.lifecycle.check_idle(other)
    return registry.lifecycle.start(model_id, by="page", force=force, replaces=replaces, **chosen)[0]


def _refusal(model_id: str) -> ModelhubError | None:
    """Start a load; return why it was refused, if it was."""
    try:
        _start(model_id)
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


@blueprint.post("/models/<path:model_id>/replicas")
def add_replica(model_id: str) -> Response:
    """Have one more copy of a ready model."""
    registry.lifecycle.scale(model_id, None, by="page")
    return _redirect_to(model_id)


@blueprint.post("/models/<path:model_id>/replicas/end")
def end_replica(model_id: str) -> Response:
    """End the copy of a model on a node."""
    registry.lifecycle.end_replica(model_id, request.form.get("node", ""), by="page")
    return _redirect_to(model_id)


@blueprint.post("/models/<path:model_id>/let-go")
def let_go(model_id: str) -> Response:
    """Keep a model no longer prepared."""
    registry.lifecycle.let_go(model_id)
    return _redirect_to(model_id)


@blueprint.post("/models/<path:model_id>/dismiss")
def dismiss(model_id: str) -> Response:
    """Forget how the latest load of a model ended."""
    registry.dismiss(model_id)
    return redirect(url_for("models.index"), 303)


@blueprint.get("/delete/<path:model_id>")
def ask_to_delete(model_id: str) -> str:
    """Ask whether the files of a model are to be deleted."""
    model = registry.model(model_id)
    if not model["disk_bytes"]:
        raise ModelhubError("no_files", id=model["id"])
    entry = registry.catalogue.find(model["id"])
    return render_template("delete.html", model=model, path=entry.path if entry else "")


@blueprint.post("/delete/<path:model_id>")
def delete_files(model_id: str) -> Response:
    """Delete the files of a model; those of the user's own folder once that was confirmed."""
    deleted = registry.delete_files(model_id, own=request.form.get("own") == "yes")
    flash(f"{deleted['id']}: {units.size(deleted['freed_bytes'])} deleted.", "note")
    return redirect(url_for("models.index"), 303)


@blueprint.post("/models/<path:model_id>/try")
def try_model(model_id: str) -> tuple[str, int]:
    """Run a prediction on what the page's form holds; returns the page with the result."""
    found = registry.model(model_id)
    given, second = request.form.get("text", ""), request.form.get("second", "")
    try:
        inputs = _prediction_inputs(found["snapshot"].get("task"), given, second)
        prediction = json.loads(registry.predict(model_id, *inputs, has_left(request.environ)))
    except ModelhubError as error:
        return model_page(found, given=given, second=second, failure=error), error.status
    return model_page(found, given=given, second=second, result=prediction_result.read(prediction)), 200


def _prediction_inputs(task: str | None, text: str, second: str) -> tuple[Any, dict[str, Any]]:
    if prediction_form.form_of(task) is None:
        return text, {}  # the model's process explains why it cannot predict
    uploads = [(file.read(), file.mimetype) for file in request.files.getlist("file")]
    most_tokens = registry.settings.max_new_tokens
    return prediction_form.inputs_of(str(task), text, second, uploads, most_tokens)


def _redirect_to(model_id: str) -> Response:
    return redirect(url_for("models.model", model_id=model_id), 303)
