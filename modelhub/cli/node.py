"""``modelhub node``: this machine becomes a node of a Ray cluster; ``drain``: one leaves it."""

from __future__ import annotations

import sys

import click
from flask.cli import load_dotenv, with_appcontext

from modelhub.cli.parameters import EXIT_CODES, NotRequested, failed, server_at, server_option
from modelhub.config import read_settings
from modelhub.errors import ModelhubError

_PORT = 6379


@click.group(invoke_without_command=True, epilog="Without a command, it runs until Ctrl-C or SIGTERM.")
@click.option("--head", is_flag=True, help="Begin a cluster here, which the others join by --address.")
@click.option("--address", metavar="HOST:PORT", help="Join the cluster of that head.")
@click.option("--port", type=int, default=_PORT, help=f"Where the head listens; {_PORT} by default.")
@click.option("--name", help="The name of this machine in the cluster; else MODELHUB_NODE.")
@click.option("--models/--no-models", default=True, help="Whether it loads models (the default).")
@click.pass_context
def node(
    ctx: click.Context, head: bool, address: str | None, port: int, name: str | None, models: bool
) -> None:
    """Join this machine to a cluster, so that models load here. Its own MODELHUB_* settings count.

    It needs Ray: pip install -r requirements-cluster.txt.
    """
    if ctx.invoked_subcommand is not None:
        return
    if head == (address is not None):
        raise click.UsageError("Give --head on the first machine, and --address HOST:PORT on the others.")
    from modelhub.cluster.membership import Membership, NotJoined

    load_dotenv()
    try:
        settings = read_settings()
        settings.check_machine()
    except ModelhubError as error:
        raise NotRequested(error) from None
    try:
        membership = Membership(name or settings.node, address, port, models)
        sys.exit(membership.run())
    except NotJoined as error:
        raise click.ClickException(str(error)) from None


@node.command(epilog=EXIT_CODES.format(done="the node takes no new loads", failed="the server refused it"))
@click.argument("name")
@server_option
@with_appcontext
def drain(name: str, server: str | None) -> None:
    """Give a node no new loads; once its models are unloaded, it leaves the cluster."""
    try:
        server_at(server).drain(name)
    except ModelhubError as error:
        raise failed(error) from None
    click.echo(f"{name} takes no new loads. It leaves once the loads that run there have ended.")
