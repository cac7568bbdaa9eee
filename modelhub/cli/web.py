"""``modelhub web``, and ``flask web`` in a checkout: runs a web process."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
from flask.cli import load_dotenv

_ROOT = Path(__file__).resolve().parent.parent.parent  # where Python finds modelhub


@click.command()
@click.option("--host", help="The address to listen at.  [default: MODELHUB_HOST, or 127.0.0.1]")
@click.option("--port", type=click.IntRange(1, 65535), help="The port.  [default: MODELHUB_PORT, or 5000]")
def web(host: str | None, port: int | None) -> None:
    """Run a web process: it shows what the server at MODELHUB_REDIS does, and passes on what is asked of it.

    Any number of them may run, also several at one port, and on other machines. The MODELHUB_* environment
    variables configure it.
    """
    load_dotenv()
    given = {"MODELHUB_HOST": host, "MODELHUB_PORT": port and str(port)}
    environ = {**os.environ, **{name: value for name, value in given.items() if value}}
    # In a checkout, -P hides modelhub too.
    environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_ROOT), environ.get("PYTHONPATH")]))
    command = [sys.executable, "-P", "-m", "modelhub.server", "web"]
    os.execve(sys.executable, command, environ)  # noqa: S606
