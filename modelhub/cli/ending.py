"""What ``unload`` and ``cancel`` do: end several models or loads, one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click

from modelhub.cli import wording
from modelhub.cli.loads import RequestedLoad
from modelhub.cli.server import Server
from modelhub.errors import ModelhubError
from modelhub.states import ACTIVE


def unload_each(server: Server, ids: Iterable[str]) -> bool:
    """Unload each model and print how much memory that freed; return whether all were unloaded."""
    return _end_each(ids, lambda model_id: _unload(server, model_id))


def cancel_each(server: Server, ids: Iterable[str]) -> bool:
    """Cancel the load of each model and print how far it was; return whether all were cancelled."""
    positions = {model["id"]: model["snapshot"]["queue_position"] or 0 for model in server.models()}
    # The last of the queue first, so that none starts only to be cancelled.
    ordered = sorted(ids, key=lambda model_id: -positions.get(model_id, 0))
    return _end_each(ordered, lambda model_id: _cancel(server, model_id))


def _unload(server: Server, model_id: str) -> str:
    """Unload a model, or let go of one that is only kept prepared."""
    try:
        return wording.receipt(server.unload(model_id))
    except ModelhubError as error:
        if error.code != "wrong_state" or not server.model(model_id)["prepared"]:
            raise
    server.let_go(model_id)
    return "let go: it was prepared, not in memory"


def _cancel(server: Server, model_id: str) -> str:
    snapshot = server.model(model_id)["snapshot"]
    load = RequestedLoad(model_id)
    if snapshot["state"] not in ACTIVE or snapshot["load_id"] is None:
        why, todo = "It is neither waiting nor loading.", "'flask models' shows what each model is doing."
        raise ModelhubError("wrong_state", id=model_id, state=snapshot["state"], why=why, todo=todo)
    load.take_end(server.cancel(snapshot["load_id"]))
    return "is being cancelled" if load.end is None else wording.ending(load.end)


def _end_each(ids: Iterable[str], end: Callable[[str], str]) -> bool:
    """Print the text that ``end`` returns for each id, or its error; raises ``server_unreachable``."""
    all_ended = True
    for model_id in ids:
        try:
            click.echo(f"{model_id} {end(model_id)}")
        except ModelhubError as error:
            if error.code == "server_unreachable":
                raise
            all_ended = False
            click.echo(f"{error.message}\n{error.hint}", err=True)
    return all_ended
