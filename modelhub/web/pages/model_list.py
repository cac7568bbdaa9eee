"""The dashboard's list of models: one page of those that a search finds, what needs attention first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from modelhub import wording
from modelhub.core.listing import Listed, matching
from modelhub.payloads import ModelResource, Snapshot
from modelhub.states import CHANGING, State
from modelhub.web.reading import Reading

PAGE_SIZE = 50
_OF_ABSENT = ("id", "load_id", "epoch", "seq", "state")


class ListPage(NamedTuple):
    """A page of the list: ``found`` models match the search, of ``total``."""

    models: list[ModelResource]
    search: str
    number: int
    pages: int
    first: int  # the place of its first model, from 1
    found: int
    total: int
    version: str
    is_complete: bool  # or the folders are still being looked through, for the first time


def list_page(registry: Reading, search: str, number: int) -> ListPage:
    """Page ``number`` of the models whose id contains ``search``, or the last one where there are fewer.

    The first page has all models that are loading or waiting, however many.
    """
    listed = registry.listing.all()
    found = sorted(matching(listed, search), key=_place)
    first_size = max(PAGE_SIZE, sum(one.state in CHANGING for one in found))
    pages = 1 + max(0, -(-(len(found) - first_size) // PAGE_SIZE))
    number = min(max(number, 1), pages)
    begin = 0 if number == 1 else first_size + (number - 2) * PAGE_SIZE
    end = first_size + (number - 1) * PAGE_SIZE
    return ListPage(
        registry.listing.resources(one.model_id for one in found[begin:end]),
        search,
        number,
        pages,
        begin + 1,
        len(found),
        len(listed),
        registry.list_version,
        registry.is_complete,
    )


def has_own(page: ListPage) -> bool:
    """Whether there may be models besides the demos."""
    return page.total > len(page.models) or any(not model["random_weights"] for model in page.models)


def page_data(page: ListPage) -> Mapping[str, Any]:
    """What the script of the page needs: of a model that was not loaded in this run, hardly anything."""
    return {"snapshots": [_brief(model["snapshot"]) for model in page.models], "version": page.version}


def _brief(snapshot: Snapshot) -> Mapping[str, Any]:
    if snapshot["state"] != State.ABSENT or snapshot["load_id"] is not None:
        return snapshot
    return {name: value for name, value in snapshot.items() if name in _OF_ABSENT}


def _place(one: Listed) -> tuple[int, bool]:
    """What needs attention comes first, what cannot be loaded last."""
    return wording.rank(one.state), one.cannot_load
