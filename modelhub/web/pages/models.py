"""The pages of models: the dashboard, and a page per model."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Flask, current_app, redirect, render_template, request, url_for
from flask_wtf.csrf import CSRFError
from werkzeug.wrappers import Response

from modelhub import placement_wording, units, wording
from modelhub.checkpoints import STEPS, TOTAL_STEPS
from modelhub.core.outlook import Outlook
from modelhub.devices import DTYPES
from modelhub.errors import ModelhubError
from modelhub.outlook_wording import expected
from modelhub.payloads import ModelResource, Particulars, Snapshot
from modelhub.states import CHANGING, STATES_OF_OUTCOME, NodeState, Outcome, State
from modelhub.web import error_handlers
from modelhub.web.access import access_of
from modelhub.web.current import reading as registry
from modelhub.web.current import reading_of
from modelhub.web.pages import (
    live,
    load_wording,
    model_list,
    model_wording,
    node_wording,
    prediction_form,
    progress_chart,
    use_it,
)
from modelhub.web.pages.model_rows import Rows

_TO_COME = (State.ABSENT, State.CANCELLED, State.INTERRUPTED, State.QUEUED, State.LOADING)
_MOST_OFFERS = 2  # of models to unload for another
blueprint = Blueprint("models", __name__)
rows = Rows()


def init_app(app: Flask) -> None:
    """Serve the pages, and give the templates their filters."""
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(
        size=units.size,
        duration=units.duration,
        count=units.count,
        moment=load_wording.moment,
        words=model_wording.page_words,
        about=model_wording.about,
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
        cause_of_unload=wording.cause_of_unload,
        outcome=load_wording.outcome,
        why=load_wording.why,
        DTYPES=DTYPES,
        devices=reading_of(app).devices,
        degraded=reading_of(app).degraded,
        away=reading_of(app).away,
        in_cluster=lambda: node_wording.in_cluster(registry),
    )
    app.register_error_handler(
        CSRFError, lambda _: error_handlers.error_response(ModelhubError("form_expired"))
    )
    app.register_blueprint(blueprint)


@blueprint.get("/")
def index() -> str:
    """A page of the models, those that need attention first; ``?q=`` finds those whose id contains it."""
    search = request.args.get("q", "").strip()
    page = model_list.list_page(registry, search, request.args.get("page", 1, type=int))
    budget = registry.budget()
    return render_template(
        "dashboard.html",
        page=page,
        rows=rows.render(page.models, budget.room),
        blank_row=rows.blank(),
        data=model_list.page_data(page),
        has_own=model_list.has_own(page),
        budget=budget,
        nodes=node_wording.lines(registry.nodes()),
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
        plain_id = registry.id_of(model_id)
        return render_template("error.html", error=error, model_id=plain_id), error.status
    if found["id"] != model_id:
        return redirect(url_for("models.model", model_id=found["id"]), 303)
    return model_page(found)


def model_page(model: ModelResource, **form: Any) -> str:
    """The page of a model; ``form`` is what the prediction form held, and its result or failure."""
    snapshot, trace = model["snapshot"], registry.adapter.trace(model["id"])
    charts = live.charts(snapshot, trace)
    is_to_come = model["state"] in _TO_COME and model["fits"] is not False and model["cannot_load"] is None
    about = registry.particulars(model["id"], is_to_come or charts["segments"] is None)
    loads = about["loads"]
    is_over = STATES_OF_OUTCOME[Outcome.COMPLETED]
    past = (load for load in loads if load["state"] in is_over and load["steps"])
    last = next((load for load in past if load["load_id"] != snapshot["load_id"]), None)
    outlook = about["outlook"] and Outlook(**about["outlook"])
    is_ready = snapshot["state"] == State.READY
    return render_template(
        "model.html",
        model=model,
        loads=loads,
        last_times=last["steps"] if last is not None else [None] * TOTAL_STEPS,
        charts=charts,
        segments=charts["segments"] or (outlook and progress_chart.segments(_shares(outlook))),
        expected=expected(outlook) if is_to_come and outlook is not None else "",
        log=trace.lines,
        to_replace=_to_replace(model),
        keep_seconds=registry.settings.keep_prepared_seconds,
        may_have_more=_may_have_more(snapshot),
        form=prediction_form.form_of(snapshot.get("task")) if is_ready else None,
        chats=is_ready and snapshot.get("chats", False),
        most_tokens=registry.settings.max_new_tokens,
        task_title=prediction_form.title_of(snapshot.get("task")),
        **_use(model, about),
        **form,
    )


def _use(model: ModelResource, about: Particulars) -> dict[str, Any]:
    """How to use the model at the address by which this request names the server."""
    task = model["snapshot"].get("task") if model["state"] == State.READY else about["task"]
    asks = access_of(current_app).is_asked
    return {
        "snippets": use_it.snippets(model["id"], task, about["chats"], request.host_url, asks),
        "loads_by_itself": registry.settings.autoload and use_it.loads_by_itself(task),
        "token_variable": use_it.TOKEN_VARIABLE,
    }


def _to_replace(model: ModelResource) -> list[ModelResource]:
    """Those in memory, each of which would make room for a model that does not fit; the smallest first."""
    error, need_bytes = model["snapshot"]["error"], model["need_bytes"]
    is_refused = error is not None and error["code"] == "no_memory"
    if need_bytes is None or model["state"] in (*CHANGING, State.READY):
        return []
    if model["fits"] is not False and not is_refused:
        return []
    ready = [one for one in registry.listing.touched() if one["state"] == State.READY]
    room = registry.budget().room
    free = {node["name"]: min(node["free"], room) for node in registry.nodes()}  # in a cluster, by node

    def makes_room(size: int, other: ModelResource) -> bool:
        return size >= need_bytes - free.get(other["snapshot"]["node"] or "", room)

    held = [(use["memory"], one) for one in ready if (use := one["snapshot"]["use"]) is not None]
    held.sort(key=lambda pair: pair[0])
    return [one for size, one in held if makes_room(size, one)][:_MOST_OFFERS]


def _may_have_more(snapshot: Snapshot) -> bool:
    """Whether there may be a node for one more copy of a ready model."""
    ready = [node for node in registry.nodes() if node["state"] == NodeState.READY]
    return len(ready) > len(placement_wording.nodes(snapshot).split(", "))


def _shares(outlook: Outlook) -> list[float]:
    """The part of each step in the time that is expected."""
    seconds = outlook.forecast["steps"]
    return [one / sum(seconds) for one in seconds]
