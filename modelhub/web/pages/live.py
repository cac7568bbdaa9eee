"""What live pages get with each event: the snapshot, its words, and the charts of a model's page."""

from __future__ import annotations

from typing import TypedDict

from modelhub.payloads import Snapshot
from modelhub.progress.trace import Trace
from modelhub.web.pages.model_wording import PageWords, page_words, rate_label
from modelhub.web.pages.progress_chart import Segment, segments, sparkline


class Charts(TypedDict):
    """The charts of a model's page, computed here and drawn by the page."""

    segments: list[Segment] | None  # None while there is no load: the page keeps the expected ones
    sparkline: str  # the path
    sparkline_label: str


class PageSnapshot(Snapshot):
    """A snapshot as the dashboard gets it."""

    words: PageWords


class ModelPageSnapshot(PageSnapshot):
    """A snapshot as the model's own page gets it."""

    charts: Charts
    prepared: bool


def page_snapshot(snapshot: Snapshot) -> PageSnapshot:
    """The snapshot with its words."""
    return {**snapshot, "words": page_words(snapshot)}


def add_charts(page: PageSnapshot, trace: Trace, is_prepared: bool) -> ModelPageSnapshot:
    """The same with what the model's own page shows besides; ``trace`` is that of the model."""
    return {**page, "charts": charts(page, trace), "prepared": is_prepared}


def charts(snapshot: Snapshot, trace: Trace) -> Charts:
    """The charts of the model's latest load."""
    return {
        "segments": None if snapshot["shares"] is None else segments(snapshot["shares"]),
        "sparkline": sparkline(trace.rates),
        "sparkline_label": rate_label(trace.rates),
    }
