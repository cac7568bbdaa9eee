"""Loads without a server: fetch, check and test-load on this machine, one after another, then let go."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from modelhub import memory, units
from modelhub.checkpoints import LoadSpec, checkpoint
from modelhub.cli.loads import View, Wanted
from modelhub.config import Settings
from modelhub.core.catalogue import Catalogue
from modelhub.errors import ModelhubError
from modelhub.progress.adapter import ProgressAdapter
from modelhub.workers.launcher import Launcher


def load_here(settings: Settings, loads: list[Wanted], force: bool, view: View) -> None:
    """Load each model in a process of its own and show it, as the server would.

    Ctrl-C cancels the load that runs and those that wait, tells so, and goes on as KeyboardInterrupt.
    """
    by_id = {wanted.model_id: wanted for wanted in loads}

    def emit(name: str, payload: dict[str, Any], _: list[str]) -> None:
        view.show(name, payload)
        if payload["state"] not in ("queued", "loading"):
            by_id[payload["id"]].end = payload
            view.finish(payload)

    adapter = ProgressAdapter(emit, settings.stall_seconds)
    for position, wanted in enumerate(loads, 1):
        wanted.load_id = secrets.token_hex(8)
        adapter.queued(wanted.model_id, wanted.load_id, position)
    try:
        with Launcher() as launcher:
            for wanted in loads:
                _load(settings, launcher, adapter, wanted, force)
    except KeyboardInterrupt:
        for wanted in loads:
            if adapter.is_open(wanted.model_id):
                adapter.cancelled(wanted.model_id, "cli")
        raise


def _load(
    settings: Settings, launcher: Launcher, adapter: ProgressAdapter, wanted: Wanted, force: bool
) -> None:
    model_id, load_id = wanted.model_id, str(wanted.load_id)
    entry = Catalogue(settings.models_dir).find(model_id)
    wait_s = launcher.expected_wait_s()
    adapter.started(model_id, load_id, entry.size_bytes if entry else None, wait_s)
    if wait_s:
        adapter.emit_progress(model_id, *checkpoint(1, detail="Importing torch and transformers."))
    folders = {"models_dir": str(settings.models_dir), "demo_dir": str(settings.demo_dir)}
    spec = LoadSpec(model_id, **folders, device=settings.device, dtype=settings.dtype, force=force)
    try:
        with launcher.worker() as worker:
            checkpoints = worker.load(spec, _admission(spec))
            while True:
                try:
                    news = next(checkpoints)
                except StopIteration as end:
                    facts = end.value
                    break
                if news is None:
                    adapter.tick(model_id)
                else:
                    adapter.emit_progress(model_id, *news)
    except ModelhubError as error:
        adapter.failed(model_id, error)
    else:
        adapter.completed(model_id, facts)


def _admission(spec: LoadSpec) -> Callable[[int], None]:
    """Refuses what does not fit into the memory that is free, unless forced."""

    def admit(need_bytes: int) -> None:
        free = memory.free_bytes()
        if need_bytes > free and not spec.force:
            raise ModelhubError(
                "no_memory", id=spec.model_id, needed=units.size(need_bytes), free=units.size(free)
            )

    return admit
