"""The commands preload, models, unload, cancel, copies, traces, node. Heavy modules load when one runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click
from flask import Flask
from flask.cli import with_appcontext

from modelhub.checkpoints import LoadOptions
from modelhub.cli.copies import copies
from modelhub.cli.node import node
from modelhub.cli.parameters import (
    EXIT_CODES,
    INTERRUPTED,
    NOT_ALL_READY,
    DeviceType,
    ModelIdType,
    NotRequested,
    failed,
    server_at,
    server_option,
    settings,
)
from modelhub.cli.traces import traces
from modelhub.cli.web import web
from modelhub.devices import DTYPES
from modelhub.errors import ModelhubError
from modelhub.states import ACTIVE, State

if TYPE_CHECKING:
    from modelhub.cli.bars import Bars
    from modelhub.cli.lines import Json, Lines
    from modelhub.cli.loads import RequestedLoad
    from modelhub.cli.server import Server


def create_app() -> Flask:
    """The app of the command line: a bad setting ends it with a message instead of a traceback."""
    import modelhub

    try:
        app = modelhub.create_app()
    except ModelhubError as error:
        raise NotRequested(error) from None
    init_app(app)
    return app


def init_app(app: Flask) -> None:
    """Give the ``flask`` command preload, models, unload, cancel, copies, traces, node and web."""
    for command in COMMANDS:
        app.cli.add_command(command)


@click.command(
    epilog=EXIT_CODES.format(
        done="all are ready; with --no-wait: all were accepted",
        failed="a load failed, was refused, cancelled or interrupted",
    )
)
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=ModelIdType())
@server_option
@click.option("--force", is_flag=True, help="Load also where memory seems too small.")
@click.option(
    "--replace",
    "replaces",
    metavar="ID",
    multiple=True,
    type=ModelIdType(State.READY),
    help="Unload this model, if it is in memory, when the turn of the load comes. Can be repeated.",
)
@click.option("--device", type=DeviceType(), help="auto, cpu, cuda, mps, cuda:1...; else MODELHUB_DEVICE.")
@click.option("--dtype", type=click.Choice(DTYPES), help="Data type of the weights; else MODELHUB_DTYPE.")
@click.option("--here", is_flag=True, help="Without a server: fetch, check and test-load, then unload.")
@click.option("--json", "as_json", is_flag=True, help="Print the events, a JSON object per line.")
@click.option("--wait/--no-wait", default=True, help="Follow the loads to their end (the default).")
@with_appcontext
def preload(
    ids: tuple[str, ...],
    server: str | None,
    force: bool,
    replaces: tuple[str, ...],
    device: str | None,
    dtype: str | None,
    here: bool,
    as_json: bool,
    wait: bool,
) -> None:
    """Load models and show the progress.

    Requests each ID from the running server, or with --here loads them on this machine, one after another.
    """
    if here and (server or replaces or not wait):
        raise click.UsageError("--here uses no server: omit --server, --replace and --no-wait.")
    try:
        from modelhub.cli.loads import RequestedLoad, all_ready

        loads = [RequestedLoad(model_id, replaces) for model_id in dict.fromkeys(ids)]
        options = LoadOptions(force, device, dtype)
        if here:
            _preload_here(loads, options, as_json)
        elif wait:
            _preload_and_follow(server_at(server), loads, options, as_json)
        else:
            _preload_only(server_at(server), loads, options, as_json)
    except ModelhubError as error:
        raise NotRequested(error) from None
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    accepted_only = not wait and all(load.end is None for load in loads)
    if not (accepted_only or all_ready(loads)):
        sys.exit(NOT_ALL_READY)


def _preload_here(loads: list[RequestedLoad], options: LoadOptions, as_json: bool) -> None:
    from modelhub.cli.here import load_here

    view = _view(loads, as_json)
    try:
        load_here(settings(), loads, options, view)
    finally:
        view.close([load.end for load in loads if load.end])


def _preload_and_follow(
    server: Server, loads: list[RequestedLoad], options: LoadOptions, as_json: bool
) -> None:
    from modelhub.cli.feed import Feed
    from modelhub.cli.interrupt import offer_to_cancel
    from modelhub.cli.loads import follow, request_and_watch

    with Feed(server.url, token=server.token) as feed:
        view = _view(loads, as_json)
        try:
            for load in loads:
                request_and_watch(server, feed, load, options)
            follow(server, feed, loads, view)
        except KeyboardInterrupt:
            offer_to_cancel(server, loads, view)
            raise
        finally:
            view.close([load.end for load in loads if load.end])


def _preload_only(server: Server, loads: list[RequestedLoad], options: LoadOptions, as_json: bool) -> None:
    from modelhub.cli.lines import Json, Lines
    from modelhub.cli.loads import request

    view = Json() if as_json else Lines()
    for load in loads:
        accepted = request(server, load, options)
        if accepted is None and load.end is not None:
            view.finish(load.end)
        elif accepted is not None:
            view.accepted(accepted)


@click.command(epilog=EXIT_CODES.format(done="the table was printed", failed="the server returned an error"))
@server_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON; with --watch the events, one per line.")
@click.option("--watch", is_flag=True, help="Show changes until Ctrl-C (exit code 0).")
@with_appcontext
def models(server: str | None, as_json: bool, watch: bool) -> None:
    """List the models with their state."""
    from modelhub.cli import listing

    try:
        if watch:
            listing.watch(server_at(server), as_json)
        else:
            listing.show(server_at(server), as_json)
    except ModelhubError as error:
        raise failed(error) from None


@click.command(
    epilog=EXIT_CODES.format(
        done="all models were unloaded", failed="one was not in memory, or a request failed"
    )
)
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=ModelIdType(State.READY))
@server_option
@with_appcontext
def unload(ids: tuple[str, ...], server: str | None) -> None:
    """Unload models, and print how much memory that freed.

    One that is not in memory but prepared for a quick load is let go.
    """
    from modelhub.cli.ending import unload_each

    _end(unload_each, server, ids)


@click.command(
    epilog=EXIT_CODES.format(
        done="all loads were cancelled", failed="one had ended already, or a request failed"
    )
)
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=ModelIdType(*ACTIVE))
@server_option
@with_appcontext
def cancel(ids: tuple[str, ...], server: str | None) -> None:
    """Cancel the loads of models that wait or are being loaded."""
    from modelhub.cli.ending import cancel_each

    _end(cancel_each, server, ids)


def _end(end_each: Callable[[Server, Iterable[str]], bool], url: str | None, ids: tuple[str, ...]) -> None:
    try:
        all_ended = end_each(server_at(url), dict.fromkeys(ids))
    except ModelhubError as error:
        raise failed(error) from None
    if not all_ended:
        sys.exit(NOT_ALL_READY)


COMMANDS = (preload, models, unload, cancel, copies, traces, node, web)


def _view(loads: list[RequestedLoad], as_json: bool) -> Bars | Lines | Json:
    """Bars on a terminal, lines elsewhere, JSON with --json."""
    from modelhub.cli import tables
    from modelhub.cli.bars import Bars
    from modelhub.cli.lines import Json, Lines

    if as_json:
        return Json()
    return Bars([load.model_id for load in loads]) if tables.is_terminal() else Lines()
