"""The pages of loads: one load with its timeline, and the history of all of them."""

from __future__ import annotations

from typing import Any, NamedTuple

from flask import Blueprint, Flask, render_template, request

from modelhub.core.journal import STATISTICS_OF_NEWEST
from modelhub.errors import ModelhubError
from modelhub.payloads import LoadRow
from modelhub.states import Outcome
from modelhub.web.current import registry
from modelhub.web.pages import load_wording, timeline_chart

PAGE_SIZE = 50
LISTED_MODELS = 50
blueprint = Blueprint("loads", __name__)


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
    page = _page(model_id, outcome, total)
    chosen: dict[str, Any] = {"model": model_id, "outcome": outcome}
    listed = [one for one in statistics if model_id in (None, one.model_id)]
    return render_template(
        "history.html",
        loads=page.loads,
        total=total,
        newer=page.newer,
        older=page.older,
        statistics=listed[:LISTED_MODELS],
        more_models=len(listed[LISTED_MODELS:]),
        of_newest=STATISTICS_OF_NEWEST,
        models=sorted({*(one.model_id for one in statistics), *filter(None, [model_id])}, key=str.lower),
        chosen=chosen,
        wording=load_wording,
    )


class Page(NamedTuple):
    """A page of loads, and where the links to its neighbours lead: the id of a load, None for no link."""

    loads: list[LoadRow]
    newer: str | None
    older: str | None


def _page(model_id: str | None, outcome: Outcome | None, total: int) -> Page:
    """The page that the request names: before or after a load, or by number."""
    journal = registry.journal
    before, after = request.args.get("before"), request.args.get("after")
    if after is not None:
        found = journal.loads(model_id, outcome, PAGE_SIZE + 1, after=after)
        if len(found) > PAGE_SIZE:
            loads = found[1:]
            return Page(loads, loads[0]["load_id"], loads[-1]["load_id"])
    if before is not None:
        found, skipped = journal.loads(model_id, outcome, PAGE_SIZE + 1, before=before), 1
    else:
        last = max(0, -(-total // PAGE_SIZE) - 1)
        number = 1 if after is not None else request.args.get("page", 1, type=int)
        skipped = PAGE_SIZE * min(max(number - 1, 0), last)
        found = journal.loads(model_id, outcome, PAGE_SIZE + 1, skipped)
    loads = found[:PAGE_SIZE]
    return Page(
        loads,
        loads[0]["load_id"] if loads and skipped else None,
        loads[-1]["load_id"] if len(found) > PAGE_SIZE else None,
    )


def _outcome() -> Outcome | None:
    text = request.args.get("outcome") or None
    try:
        return None if text is None else Outcome(text)
    except ValueError:
        raise ModelhubError("invalid_request", why=f"outcome is one of {', '.join(Outcome)}.") from None
