"""The ``modelhub`` command of an installed modelhub: serve, and the commands of ``flask``."""

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


for _command in cli.COMMANDS:
    main.add_command(_command)
