"""flask preload, models and unload. What is heavy is imported when a command runs, not before."""

from __future__ import annotations

import sys
from typing import IO, TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem
from flask import Flask, current_app
from flask.cli import ScriptInfo, with_appcontext

from modelhub.config import Settings
from modelhub.errors import ModelhubError
from modelhub.model_ids import parse_model_id

if TYPE_CHECKING:
    from modelhub.cli.bars import Bars
    from modelhub.cli.lines import Json, Lines
    from modelhub.cli.loads import Wanted
    from modelhub.cli.server import Server

NOT_ALL_READY, NOT_ASKED, INTERRUPTED = 1, 2, 130
_EXIT_CODES = """\b
Exit codes:
  0    {done}
  1    {failed}
  2    wrong usage, or no server answers
  130  interrupted with Ctrl-C"""


class Failed(click.ClickException):
    """Ends the command with a failure's message and hint on standard error."""

    exit_code = NOT_ALL_READY

    def __init__(self, error: ModelhubError) -> None:
        super().__init__(f"{error.message}\n{error.hint}")

    def show(self, file: IO[Any] | None = None) -> None:
        """Print what happened and what to do."""
        click.echo(self.message, file=file or sys.stderr)


class NotAsked(Failed):
    """The failure kept anything from being asked: a bad id, no server."""

    exit_code = NOT_ASKED


class ModelIdType(click.ParamType[str]):
    """A model id, completed from what the server has, else from what this machine has."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The id, checked by its pattern before anything is asked."""
        try:
            parse_model_id(value)
        except ModelhubError as error:
            raise NotAsked(error) from None
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The ids that begin as what is typed, not those on the line already."""
        from modelhub.cli.completion import known_ids

        settings = ctx.ensure_object(ScriptInfo).load_app().extensions["modelhub"].settings
        taken = ctx.params.get(param.name or "") or ()
        ids = known_ids(ctx.params.get("server") or settings.server, settings.models_dir)
        return [CompletionItem(i) for i in ids if i.startswith(incomplete) and i not in taken]


def _check_server(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and not value.startswith(("http://", "https://")):
        raise click.BadParameter("It must be an address such as http://127.0.0.1:5000.")
    return value and value.rstrip("/")


_server_option = click.option(
    "--server", metavar="URL", callback=_check_server, help="The server to ask; else MODELHUB_SERVER."
)


def create_app() -> Flask:
    """The app for the ``flask`` command: a setting that cannot be used ends it in words, not with a trace."""
    import modelhub

    try:
        app = modelhub.create_app()
    except ModelhubError as error:
        raise NotAsked(error) from None
    init_app(app)
    return app


def init_app(app: Flask) -> None:
    """Give the ``flask`` command preload, models and unload."""
    for command in COMMANDS:
        app.cli.add_command(command)


@click.command(
    epilog=_EXIT_CODES.format(
        done="all are ready; with --no-wait: all were asked for",
        failed="a load failed, was refused, cancelled or cut short",
    )
)
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=ModelIdType())
@_server_option
@click.option("--force", is_flag=True, help="Load also where memory seems too small.")
@click.option("--here", is_flag=True, help="Needs no server: fetch, check and test-load, then let go.")
@click.option("--json", "as_json", is_flag=True, help="Print the events, a JSON object per line.")
@click.option("--wait/--no-wait", default=True, help="Follow the loads to their end (the default).")
@with_appcontext
def preload(
    ids: tuple[str, ...], server: str | None, force: bool, here: bool, as_json: bool, wait: bool
) -> None:
    """Load models and show how it goes.

    Asks the running server to load each ID, or with --here loads them on this machine, one after another.
    """
    if here and (server or not wait):
        raise click.UsageError("--here asks no server: leave --server and --no-wait out.")
    try:
        from modelhub.cli.loads import Wanted, all_ready

        loads = [Wanted(model_id) for model_id in dict.fromkeys(ids)]
        if here:
            _preload_here(loads, force, as_json)
        elif wait:
            _preload_there(_server(server), loads, force, as_json)
        else:
            _preload_later(_server(server), loads, force, as_json)
    except ModelhubError as error:
        raise NotAsked(error) from None
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    asked_only = not wait and all(wanted.end is None for wanted in loads)
    if not (asked_only or all_ready(loads)):
        sys.exit(NOT_ALL_READY)


def _preload_here(loads: list[Wanted], force: bool, as_json: bool) -> None:
    from modelhub.cli.here import load_here

    view = _view(loads, as_json)
    try:
        load_here(_settings(), loads, force, view)
    finally:
        view.close([wanted.end for wanted in loads if wanted.end])


def _preload_there(server: Server, loads: list[Wanted], force: bool, as_json: bool) -> None:
    from modelhub.cli.feed import Feed
    from modelhub.cli.interrupt import ask_what_becomes
    from modelhub.cli.loads import follow, request

    with Feed(server.url) as feed:
        view = _view(loads, as_json)
        try:
            for wanted in loads:
                request(server, feed, wanted, force)
            follow(server, feed, loads, view)
        except KeyboardInterrupt:
            ask_what_becomes(server, loads, view)
            raise
        finally:
            view.close([wanted.end for wanted in loads if wanted.end])


def _preload_later(server: Server, loads: list[Wanted], force: bool, as_json: bool) -> None:
    from modelhub.cli.lines import Json, Lines
    from modelhub.cli.loads import ask

    view = Json() if as_json else Lines()
    for wanted in loads:
        load = ask(server, wanted, force)
        if load is None and wanted.end is not None:
            view.finish(wanted.end)
        elif load is not None:
            view.accepted(load)


@click.command(
    epilog=_EXIT_CODES.format(done="the table was printed", failed="the server answered with an error")
)
@_server_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON; with --watch the events, one per line.")
@click.option("--watch", is_flag=True, help="Go on showing what changes, until Ctrl-C (then exit code 0).")
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
        raise _stop(error) from None


@click.command(
    epilog=_EXIT_CODES.format(done="the model left memory", failed="it could not, or was not in memory")
)
@click.argument("model_id", metavar="ID", type=ModelIdType())
@_server_option
@with_appcontext
def unload(model_id: str, server: str | None) -> None:
    """Let a model leave memory, and say how much that freed."""
    from modelhub.cli import wording

    try:
        receipt = _server(server).unload(model_id)
        click.echo(f"{model_id} {wording.receipt(receipt)}")
    except ModelhubError as error:
        raise _stop(error) from None


COMMANDS = (preload, models, unload)


def _settings() -> Settings:
    settings: Settings = current_app.extensions["modelhub"].settings
    return settings


def _server(url: str | None) -> Server:
    from modelhub.cli.server import Server

    return Server(url or _settings().server)


def _stop(error: ModelhubError) -> Failed:
    return NotAsked(error) if error.code == "server_unreachable" else Failed(error)


def _view(loads: list[Wanted], as_json: bool) -> Bars | Lines | Json:
    """Bars on a terminal, lines elsewhere, JSON where asked for."""
    from modelhub.cli import tables
    from modelhub.cli.bars import Bars
    from modelhub.cli.lines import Json, Lines

    if as_json:
        return Json()
    return Bars([wanted.model_id for wanted in loads]) if tables.is_terminal() else Lines()
