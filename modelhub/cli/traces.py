"""The commands traces export and traces replay. Heavy modules are imported when a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import click
from flask.cli import with_appcontext

from modelhub.cli.parameters import EXIT_CODES, ModelIdType, failed, server_at, server_option
from modelhub.errors import ModelhubError


@click.group()
def traces() -> None:
    """Recorded loads: write them down, and see how true what was shown of them is."""


@traces.command(epilog=EXIT_CODES.format(done="the loads were written", failed="a request failed"))
@server_option
@click.option("--model", metavar="ID", type=ModelIdType(), help="Only the loads of this model.")
@click.option("--limit", default=200, show_default=True, help="The most loads, the newest first.")
@click.option("--anonymous", is_flag=True, help="Write numbers instead of the names of models.")
@click.option("--out", type=click.File("w"), default="-", help="The file to write; else standard output.")
@with_appcontext
def export(server: str | None, model: str | None, limit: int, anonymous: bool, out: IO[str]) -> None:
    """Write the completed loads of the server, a JSON object per line, the oldest first."""
    from modelhub.cli import recordings

    try:
        count = recordings.export(server_at(server), model, limit, anonymous, out)
    except ModelhubError as error:
        raise failed(error) from None
    click.echo(f"{count} loads written", err=True)


@traces.command()
@click.argument(
    "files",
    metavar="FILE...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option("--unseen", is_flag=True, help="Learn from the loads of other models only.")
def replay(files: tuple[Path, ...], unseen: bool) -> None:
    """Replay recorded loads: what would have been shown of each, and how true that is.

    Each is predicted by what all others in the files teach. Needs no server.
    """
    from modelhub.cli import recordings

    recordings.show_replayed(list(recordings.read(files)), unseen)
