"""Answers as server-sent events: comments while a client waits, so that nothing times out, then chunks."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from flask import Response

from modelhub import wording
from modelhub.errors import ModelhubError
from modelhub.payloads import Snapshot
from modelhub.states import State
from modelhub.web.dialects.answers import Loading

log = logging.getLogger(__name__)
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
DONE = "data: [DONE]\n\n"
Made = TypeVar("Made")  # what a model has made: frames of text, or a result
Fail = Callable[[ModelhubError], Iterable[dict[str, Any]]]


def response(lines: Iterator[str]) -> Response:
    """A stream of events."""
    return Response(lines, mimetype="text/event-stream", headers=_HEADERS)


def event(data: dict[str, Any]) -> str:
    """One event without a name."""
    return f"data: {json.dumps(data)}\n\n"


def answer_lines(
    parts: Iterator[Loading | Made | None],
    encode: Callable[[Made], Iterable[dict[str, Any]]],
    fail: Fail,
    end: str = DONE,
) -> Iterator[str]:
    """An answer as events: ``encode`` makes them of each frame, ``fail`` of an error, which ends them."""
    try:
        for part in parts:
            if part is None or isinstance(part, Loading):
                yield waiting(part)
            elif lines := "".join(event(one) for one in encode(part)):
                yield lines
    except Exception as error:
        yield "".join(event(one) for one in fail(_as_failure(error)))
        return
    yield end


def _as_failure(error: Exception) -> ModelhubError:
    """The failure to send: what nobody foresaw is in the log."""
    if isinstance(error, ModelhubError):
        return error
    log.exception("A stream failed", exc_info=error)
    return ModelhubError("internal")


def waiting(part: Loading | None) -> str:
    """The comment for a client whose answer has not begun, or pauses: so that nothing times out."""
    return f": {'waiting' if part is None else loading(part.snapshot)}\n\n"


def loading(snapshot: Snapshot) -> str:
    """``"loading 41%, about 3 s left"``, or where it is in the queue."""
    words = wording.describe(snapshot)
    if snapshot["state"] == State.LOADING:
        return ", ".join((f"loading {words['percent']}".strip(), wording.time_left(snapshot)))
    return words["headline"].lower()
