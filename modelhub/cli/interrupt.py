"""Ctrl-C while loads are followed: they belong to the server, so it is asked what is to become of them."""

from __future__ import annotations

import contextlib
import select
import sys

import click

from modelhub.cli.bars import Bars
from modelhub.cli.loads import View, Wanted
from modelhub.cli.server import Server
from modelhub.errors import ModelhubError

_POLL_S = 0.2


def ask_what_becomes(server: Server, loads: list[Wanted], view: View) -> None:
    """On a terminal, ask whether to cancel; without one, or without an answer, the loads go on."""
    running = [wanted for wanted in loads if wanted.end is None and wanted.load_id is not None]
    if not running:
        return
    ids = ", ".join(wanted.model_id for wanted in running)
    if not (isinstance(view, Bars) and sys.stdin.isatty()):
        view.note(f"{ids}: the load goes on in the server.")
        return
    view.stop()
    if _wants_to_cancel(ids):
        for wanted in reversed(running):  # so that none starts just to be cancelled
            with contextlib.suppress(ModelhubError):  # it has just ended by itself
                wanted.settle(server.cancel(str(wanted.load_id)))
            if wanted.end is not None:
                view.finish(wanted.end)
    else:
        view.note(f"{ids}: the load goes on in the server; 'flask models --watch' shows it.")


def _wants_to_cancel(ids: str) -> bool:
    """The answer; no answer, another Ctrl-C or the end of input are a no."""
    click.echo(f"\nCancel {ids}? Otherwise it goes on in the server. [y/N]: ", nl=False)
    try:
        # A wait without end would sleep through a Ctrl-C that comes just before it.
        while not select.select([sys.stdin], [], [], _POLL_S)[0]:
            pass
        return sys.stdin.readline().strip().lower() in ("y", "yes")
    except KeyboardInterrupt:
        click.echo()
        return False
