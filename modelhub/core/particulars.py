"""What the page of a model shows beside its state: what only the server that loads models knows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from modelhub.core.model_card import read_card, read_template
from modelhub.core.outlook import Outlook, outlook_of
from modelhub.payloads import LoadResource, Particulars
from modelhub.states import State

NEWEST_LOADS = 20


def particulars(
    loads: list[LoadResource], outlook: Callable[[], Outlook | None] | None, folder: Path | None
) -> Particulars:
    """Those of the model that was loaded in ``loads``, the newest first, and whose files are in ``folder``.

    ``outlook()`` is what is expected of a load that would begin now; None where nobody needs that.
    """
    found = None
    if outlook is not None:
        running = loads[0] if loads and loads[0]["state"] == State.LOADING else None
        found = (running and outlook_of(running, loads)) or outlook()
    return {
        "loads": loads,
        "outlook": found and found.to_dict(),
        "task": read_card(folder).task,
        "chats": bool(read_template(folder)),
    }


def without_server() -> Particulars:
    """What is known where the server that loads models does not answer: nothing."""
    return {"loads": [], "outlook": None, "task": None, "chats": False}
