"""``modelhub copies``: how many copies of a model there are, each on a node of its own."""

from __future__ import annotations

import click
from flask.cli import with_appcontext

from modelhub import placement_wording
from modelhub.cli.parameters import EXIT_CODES, ModelIdType, failed, server_at, server_option
from modelhub.errors import ModelhubError
from modelhub.states import State


@click.command(
    epilog=EXIT_CODES.format(done="the copies load, or have ended", failed="the server refused it")
)
@click.argument("model_id", metavar="ID", type=ModelIdType(State.READY))
@click.argument("count", type=click.IntRange(1, 1000))
@server_option
@with_appcontext
def copies(model_id: str, count: int, server: str | None) -> None:
    """Have COUNT copies of a model that is in memory, each on a node of its own.

    They share its requests. Those that are too many end; 'models' shows where the others are.
    """
    try:
        model = server_at(server).scale(model_id, count)
    except ModelhubError as error:
        raise failed(error) from None
    click.echo(f"{model['id']} {placement_wording.place(model['snapshot'])}".strip())
