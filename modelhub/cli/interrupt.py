"""Ctrl-C while loads are followed: they belong to the server, so ask whether to cancel them."""

from __future__ import annotations

import contextlib
import select
import sys

import click

from modelhub.cli.bars import Bars
from modelhub.cli.loads import RequestedLoad, View
from modelhub.cli.server import Server
from modelhub.errors import ModelhubError

_POLL_S = 0.2


def offer_to_cancel(server: Server, loads: list[RequestedLoad], view: View) -> None:
    """On a terminal, ask whether to cancel; without one, or without an answer, the loads continue."""
    running = [load for load in loads if load.end is None and load.load_id is not None]
    if not running:
        return
    ids = ", ".join(load.model_id for load in running)
    if not (isinstance(view, Bars) and sys.stdin.isatty()):
        view.note(f"{ids}: the load continues in the server.")
        return
    view.stop()
    if _confirm_cancel(ids):
        for load in reversed(running):  # the last first, so that none starts only to be cancelled
            with contextlib.suppress(ModelhubError):  # it has just ended by itself
                load.take_end(server.cancel(str(load.load_id)))
            if load.end is not None:
                view.finish(load.end)
    else:
        view.note(f"{ids}: the load continues in the server; 'flask models --watch' shows it.")


def _confirm_cancel(ids: str) -> bool:
    """Ask; no input, another Ctrl-C or the end of input count as no."""
    try:
        click.echo(f"\nCancel {ids}? Otherwise it continues in the server. [y/N]: ", nl=False)
        # Waiting without a time limit would miss a Ctrl-C that comes just before.
        while not select.select([sys.stdin], [], [], _POLL_S)[0]:
            pass
        return sys.stdin.readline().strip().lower() in ("y", "yes")
    except KeyboardInterrupt:
        click.echo()
        return False
