"""The pages of loads: one load with its timeline, and the history of all of them."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Flask, render_template, request

from modelhub.core.journal import STATISTICS_OF_NEWEST
from modelhub.errors import ModelhubError
from modelhub.states import Outcome
from modelhub.web.current import registry
from modelhub.web.pages import load_wording, timeline_chart
from modelhub.web.security import never_cached

PAGE_SIZE = 50
blueprint = Blueprint("loads", __name__)
blueprint.after_request(never_cached)


def init_app(app: Flask) -> None:
    """Serve the pages."""
    app.register_blueprint(blueprint)


@blueprint.get("/loads/<load_id>")
def load(load_id: str) -> str:
    """One load: how it ended, when its steps ran, and its bytes over time."""
    found = registry.load(load_id)
    timeline = registry.timeline(found)
    return render_template(
        "load.html",
        load=found,
        chart=timeline_chart.draw(found, timeline),
        ending=load_wording.ending(found, timeline_chart.last_step(found, timeline)),
        wording=load_wording,
    )


@blueprint.get("/history")
def history() -> str:
    """All loads, filtered by model and outcome, and the statistics of each model."""
    journal = registry.journal
    model_id, outcome = request.args.get("model") or None, _outcome()
    statistics = journal.statistics()
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
        statistics=[one for one in statistics if model_id in (None, one.model_id)],
        of_newest=STATISTICS_OF_NEWEST,
        models=sorted({*(one.model_id for one in statistics), *filter(None, [model_id])}, key=str.lower),
        chosen=chosen,
        wording=load_wording,
    )


def _outcome() -> Outcome | None:
    text = request.args.get("outcome") or None
    try:
        return None if text is None else Outcome(text)
    except ValueError:
        raise ModelhubError("invalid_request", why=f"outcome is one of {', '.join(Outcome)}.") from None
