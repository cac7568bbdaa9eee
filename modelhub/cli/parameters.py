"""What the commands have in common: how they fail, and the types of their arguments and options."""

from __future__ import annotations

import re
import sys
from typing import IO, TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem
from flask import current_app
from flask.cli import ScriptInfo

from modelhub.config import Settings
from modelhub.devices import DEVICE_PATTERN, DEVICES, devices
from modelhub.errors import ModelhubError
from modelhub.model_ids import plain_model_id
from modelhub.states import State

if TYPE_CHECKING:
    from modelhub.cli.server import Server

NOT_ALL_READY, NOT_REQUESTED, INTERRUPTED = 1, 2, 130
EXIT_CODES = """\b
Exit codes:
  0    {done}
  1    {failed}
  2    wrong usage, no server responds, or it has another token
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
    """A model id, completed from those that the server knows, else from those on this machine.

    With ``states``, only models in one of them are completed, which the server alone knows.
    """

    name = "id"

    def __init__(self, *states: State) -> None:
        self._states = states

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
        url, token = ctx.params.get("server") or settings.server, settings.read_tokens().full
        ids = known_ids(url, settings.models_dir, self._states, token)
        return [CompletionItem(i) for i in ids if i.startswith(incomplete) and i not in given]


class DeviceType(click.ParamType[str]):
    """A device such as cpu or cuda:1, completed from those of this machine."""

    name = "device"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The device, checked by its pattern: the server knows what its machine has."""
        if not re.match(DEVICE_PATTERN, str(value)):
            self.fail(f"It must be one of {', '.join(DEVICES)}, or a GPU such as cuda:1.", param, ctx)
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The devices of this machine that begin with ``incomplete``."""
        return [CompletionItem(name) for name in devices() if name.startswith(incomplete)]


def _check_server(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and not value.startswith(("http://", "https://")):
        raise click.BadParameter("It must be an address such as http://127.0.0.1:5000.")
    return value and value.rstrip("/")


server_option = click.option(
    "--server", metavar="URL", callback=_check_server, help="Address of the server; else MODELHUB_SERVER."
)


def settings() -> Settings:
    """The settings of the app that the command runs in."""
    from modelhub.web.current import registry_of

    return registry_of(current_app).settings


def server_at(url: str | None) -> Server:
    """The server that the option names, else that of the settings."""
    from modelhub.cli.server import Server

    return Server(url or settings().server, settings().read_tokens().full)


def failed(error: ModelhubError) -> Failed:
    """How the command ends by an error."""
    return NotRequested(error) if error.code in ("server_unreachable", "unauthorized") else Failed(error)
