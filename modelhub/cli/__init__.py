"""The commands preload, models and unload. Heavy modules are imported when a command runs, not before."""

from __future__ import annotations

import sys
from typing import IO, TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem
from flask import Flask, current_app
from flask.cli import ScriptInfo, with_appcontext

from modelhub.config import Settings
from modelhub.errors import ModelhubError
from modelhub.model_ids import plain_model_id

if TYPE_CHECKING:
    from modelhub.cli.bars import Bars
    from modelhub.cli.lines import Json, Lines
    from modelhub.cli.loads import RequestedLoad
    from modelhub.cli.server import Server

NOT_ALL_READY, NOT_REQUESTED, INTERRUPTED = 1, 2, 130
_EXIT_CODES = """\b
Exit codes:
  0    {done}
  1    {failed}
  2    wrong usage, or no server responds
  130  interrupted with Ctrl-C"""


class Failed(click.ClickException):
    """Ends the command with a failure's message and hint on standard error."""

    exit_code = NOT_ALL_READY

    def __init__(self, error: ModelhubError) -> None:
        super().__init__(f"{error.message}\n{error.hint}")

    def show(self, file: IO[Any] | None = None) -> None:
        """Print what happened and what to do."""
        click.echo(self.message, file=file or sys.stderr)


class NotRequested(Failed):
    """The command could not make its request: a bad id, no server."""

    exit_code = NOT_REQUESTED


class ModelIdType(click.ParamType[str]):
    """A model id, completed from those that the server knows, else from those on this machine."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The id, or that of a link to the hub, checked before any request."""
        try:
            return plain_model_id(value)
        except ModelhubError as error:
            raise NotRequested(error) from None

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The ids that begin with ``incomplete`` and are not on the command line already."""
        from modelhub.cli.completion import known_ids
        from modelhub.web.current import registry_of

        settings = registry_of(ctx.ensure_object(ScriptInfo).load_app()).settings
        given = ctx.params.get(param.name or "") or ()
        ids = known_ids(ctx.params.get("server") or settings.server, settings.models_dir)
        return [CompletionItem(i) for i in ids if i.startswith(incomplete) and i not in given]


def _check_server(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and not value.startswith(("http://", "https://")):
        raise click.BadParameter("It must be an address such as http://127.0.0.1:5000.")
    return value and value.rstrip("/")


_server_option = click.option(
    "--server", metavar="URL", callback=_check_server, help="Address of the server; else MODELHUB_SERVER."
)


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
    """Give the ``flask`` command preload, models and unload."""
    for command in COMMANDS:
        app.cli.add_command(command)


@click.command(
    epilog=_EXIT_CODES.format(
        done="all are ready; with --no-wait: all were accepted",
        failed="a load failed, was refused, cancelled or interrupted",
    )
)
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=ModelIdType())
@_server_option
@click.option("--force", is_flag=True, help="Load also where memory seems too small.")
@click.option("--here", is_flag=True, help="Without a server: fetch, check and test-load, then unload.")
@click.option("--json", "as_json", is_flag=True, help="Print the events, a JSON object per line.")
@click.option("--wait/--no-wait", default=True, help="Follow the loads to their end (the default).")
@with_appcontext
def preload(
    ids: tuple[str, ...], server: str | None, force: bool, here: bool, as_json: bool, wait: bool
) -> None:
    """Load models and show the progress.

    Requests each ID from the running server, or with --here loads them on this machine, one after another.
    """
    if here and (server or not wait):
        raise click.UsageError("--here uses no server: omit --server and --no-wait.")
    try:
        from modelhub.cli.loads import RequestedLoad, all_ready

        loads = [RequestedLoad(model_id) for model_id in dict.fromkeys(ids)]
        if here:
            _preload_here(loads, force, as_json)
        elif wait:
            _preload_and_follow(_server(server), loads, force, as_json)
        else:
            _preload_only(_server(server), loads, force, as_json)
    except ModelhubError as error:
        raise NotRequested(error) from None
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    accepted_only = not wait and all(load.end is None for load in loads)
    if not (accepted_only or all_ready(loads)):
        sys.exit(NOT_ALL_READY)


def _preload_here(loads: list[RequestedLoad], force: bool, as_json: bool) -> None:
    from modelhub.cli.here import load_here

    view = _view(loads, as_json)
    try:
        load_here(_settings(), loads, force, view)
    finally:
        view.close([load.end for load in loads if load.end])


def _preload_and_follow(server: Server, loads: list[RequestedLoad], force: bool, as_json: bool) -> None:
    from modelhub.cli.feed import Feed
    from modelhub.cli.interrupt import offer_to_cancel
    from modelhub.cli.loads import follow, request_and_watch

    with Feed(server.url) as feed:
        view = _view(loads, as_json)
        try:
            for load in loads:
                request_and_watch(server, feed, load, force)
            follow(server, feed, loads, view)
        except KeyboardInterrupt:
            offer_to_cancel(server, loads, view)
            raise
        finally:
            view.close([load.end for load in loads if load.end])


def _preload_only(server: Server, loads: list[RequestedLoad], force: bool, as_json: bool) -> None:
    from modelhub.cli.lines import Json, Lines
    from modelhub.cli.loads import request

    view = Json() if as_json else Lines()
    for load in loads:
        accepted = request(server, load, force)
        if accepted is None and load.end is not None:
            view.finish(load.end)
        elif accepted is not None:
            view.accepted(accepted)


@click.command(epilog=_EXIT_CODES.format(done="the table was printed", failed="the server returned an error"))
@_server_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON; with --watch the events, one per line.")
@click.option("--watch", is_flag=True, help="Show changes until Ctrl-C (exit code 0).")
@with_appcontext
def models(server: str | None, as_json: bool, watch: bool) -> None:
    """List the models with their state."""
    from modelhub.cli import listing

    try:
        if watch:
            listing.watch(_server(server), as_json)
        else:
            listing.show(_server(server), as_json)
    except ModelhubError as error:
        raise _failed(error) from None


@click.command(
    epilog=_EXIT_CODES.format(
        done="the model was unloaded", failed="it was not in memory, or the request failed"
    )
)
@click.argument("model_id", metavar="ID", type=ModelIdType())
@_server_option
@with_appcontext
def unload(model_id: str, server: str | None) -> None:
    """Unload a model, and print how much memory that freed."""
    from modelhub.cli import wording

    try:
        receipt = _server(server).unload(model_id)
        click.echo(f"{model_id} {wording.receipt(receipt)}")
    except ModelhubError as error:
        raise _failed(error) from None


COMMANDS = (preload, models, unload)


def _settings() -> Settings:
    from modelhub.web.current import registry_of

    return registry_of(current_app).settings


def _server(url: str | None) -> Server:
    from modelhub.cli.server import Server

    return Server(url or _settings().server)


def _failed(error: ModelhubError) -> Failed:
    return NotRequested(error) if error.code == "server_unreachable" else Failed(error)


def _view(loads: list[RequestedLoad], as_json: bool) -> Bars | Lines | Json:
    """Bars on a terminal, lines elsewhere, JSON with --json."""
    from modelhub.cli import tables
    from modelhub.cli.bars import Bars
    from modelhub.cli.lines import Json, Lines

    if as_json:
        return Json()
    return Bars([load.model_id for load in loads]) if tables.is_terminal() else Lines()
