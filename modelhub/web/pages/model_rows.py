"""The rows of the dashboard. Those of models that were never loaded are kept: most rows are."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from flask import render_template
from flask_wtf.csrf import generate_csrf
from markupsafe import Markup

from modelhub import wording
from modelhub.core.listing import without_files
from modelhub.payloads import ModelResource
from modelhub.progress.log import absent
from modelhub.states import State

_MAX_KEPT = 1000
_TOKEN = secrets.token_hex(16)  # stands for the token of the forms, which is another for each reader
# The script of the page puts those of the model there (static/dashboard.js).
_BLANK_ID = "ROW-ORG/ROW-NAME"


class Rows:
    """Renders rows."""

    def __init__(self) -> None:
        self._kept: dict[tuple[object, ...], str] = {}

    def render(self, models: Iterable[ModelResource], free_bytes: int) -> Markup:
        """The rows of the models; ``free_bytes`` is the memory that a load may take."""
        return _for_reader("".join(self._row(model, free_bytes) for model in models))

    def blank(self) -> Markup:
        """The row of a model that is not known yet."""
        return _for_reader(self._row(without_files(absent(_BLANK_ID, "")), 0))

    def _row(self, model: ModelResource, free_bytes: int) -> str:
        snapshot = model["snapshot"]
        if snapshot["state"] != State.ABSENT or snapshot["load_id"] is not None:
            return _render(model, free_bytes)
        # All that the row says.
        files = (model["id"], model["source"], model["size_bytes"], model["partial_bytes"])
        can_load = (model["fits"], model["prepared"], repr(model["cannot_load"]))
        key = (*files, *can_load, wording.need(model["need_bytes"], free_bytes))
        if key not in self._kept:
            while len(self._kept) >= _MAX_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = _render(model, free_bytes)
        return self._kept[key]


def _render(model: ModelResource, free_bytes: int) -> str:
    return render_template("_row.html", model=model, free=free_bytes, csrf_token=lambda: _TOKEN)


def _for_reader(html: str) -> Markup:
    return Markup(html.replace(_TOKEN, generate_csrf()))  # noqa: S704 - rendered by Jinja
