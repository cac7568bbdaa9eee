"""The pages of loads: one load as it went, and the history of all of them."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Flask, current_app, render_template, request

from modelhub.core.journal import FIGURES_OF_NEWEST
from modelhub.core.registry import Hub
from modelhub.core.statistics import OUTCOMES
from modelhub.errors import ModelhubError
from modelhub.web.pages import load_wording, timeline_chart
from modelhub.web.pages.models import never_stale

PAGE_SIZE = 50
blueprint = Blueprint("history", __name__)
blueprint.after_request(never_stale)


def init_app(app: Flask) -> None:
    """Serve the pages."""
    app.register_blueprint(blueprint)


@blueprint.get("/loads/<load_id>")
def load(load_id: str) -> str:
    """One load: how it ended, when its steps were, and its bytes over time."""
    hub = _hub()
    found = hub.load(load_id)
    timeline = hub.timeline(found)
    return render_template(
        "load.html",
        load=found,
        drawing=timeline_chart.draw(found, timeline),
        ending=load_wording.ending(found, timeline_chart.last_step(found, timeline)),
        say=load_wording,
    )


@blueprint.get("/history")
def history() -> str:
    """All loads, of one model and with one outcome if asked so, and the figures of each model."""
    journal = _hub().journal
    model_id, outcome = request.args.get("model") or None, request.args.get("outcome") or None
    if outcome is not None and outcome not in OUTCOMES:
        raise ModelhubError("invalid_request", why=f"outcome is one of {', '.join(OUTCOMES)}.")
    figures = journal.figures()
    total = journal.count(model_id, outcome)
    pages = max(1, -(-total // PAGE_SIZE))
    page = min(max(request.args.get("page", 1, type=int), 1), pages)
    chosen: dict[str, Any] = {"model": model_id, "outcome": outcome}
    return render_template(
        "history.html",
        loads=journal.loads(model_id, outcome, PAGE_SIZE, (page - 1) * PAGE_SIZE),
        total=total,
        first=(page - 1) * PAGE_SIZE + 1,
        page=page,
        pages=pages,
        figures=[one for one in figures if model_id in (None, one.model_id)],
        of_newest=FIGURES_OF_NEWEST,
        models=sorted({*(one.model_id for one in figures), *filter(None, [model_id])}, key=str.lower),
        chosen=chosen,
        say=load_wording,
    )


def _hub() -> Hub:
    hub: Hub = current_app.extensions["modelhub"]
    return hub
