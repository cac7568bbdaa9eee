"""The ``modelhub`` command of an installed modelhub: serve, web, and the commands of ``flask``."""

from __future__ import annotations

import os
import sys

import click
from flask import Flask
from flask.cli import ScriptInfo, load_dotenv

from modelhub import cli


def _create_app() -> Flask:
    # The flask command reads .env and .flaskenv too.
    load_dotenv()
    return cli.create_app()


# Part of the context rather than set by the group: completion parses the line without running the group.
@click.group(context_settings={"obj": ScriptInfo(create_app=_create_app)})
def main() -> None:
    """Load Hugging Face models on this machine and show live how each load is going."""


@main.command()
def serve() -> None:
    """Run the server until Ctrl-C or SIGTERM. The MODELHUB_* environment variables configure it."""
    # A new interpreter, since the server patches the standard library before anything else is imported. Exec
    # keeps the process id, so signals reach the server; -P keeps modules of the current folder out of it.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "modelhub.server"])  # noqa: S606


@main.command()
@click.option("--host", help="The address to listen at.  [default: MODELHUB_HOST, or 127.0.0.1]")
@click.option("--port", type=click.IntRange(1, 65535), help="The port.  [default: MODELHUB_PORT, or 5000]")
def web(host: str | None, port: int | None) -> None:
    """Run a web process: it shows what the server at MODELHUB_REDIS does, and passes on what is asked of it.

    Any number of them may run, also several at one port, and on other machines. The MODELHUB_* environment
    variables configure it.
    """
    given = {"MODELHUB_HOST": host, "MODELHUB_PORT": port and str(port)}
    environ = {**os.environ, **{name: value for name, value in given.items() if value}}
    command = [sys.executable, "-P", "-m", "modelhub.server", "web"]
    os.execve(sys.executable, command, environ)  # noqa: S606


for _command in cli.COMMANDS:
    main.add_command(_command)
