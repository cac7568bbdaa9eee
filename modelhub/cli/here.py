"""``preload --here``: fetch, check and test-load on this machine without a server, one after another."""

from __future__ import annotations

import secrets
from typing import cast

from modelhub.checkpoints import LoadOptions
from modelhub.cli.loads import Ending, RequestedLoad, View
from modelhub.config import Settings
from modelhub.core.budget import check_fits, free_for_load
from modelhub.core.catalogue import Catalogue
from modelhub.core.conditions import conditions_of
from modelhub.core.experience import Experience
from modelhub.core.follow import announce, follow, load_spec
from modelhub.devices import check_device
from modelhub.errors import ModelhubError
from modelhub.payloads import Snapshot
from modelhub.progress.adapter import ProgressAdapter
from modelhub.states import ACTIVE, EventName
from modelhub.workers.launcher import Launcher


def load_here(settings: Settings, loads: list[RequestedLoad], options: LoadOptions, view: View) -> None:
    """Load each model in a process of its own and show it, as the server would.

    Ctrl-C cancels the load that runs and those that wait, shows that, and is raised as KeyboardInterrupt.
    Raises ``bad_setting`` or ``no_device`` before the first load.
    """
    settings.check_machine()
    if options.device is not None:
        check_device(options.device)
    by_id = {load.model_id: load for load in loads}

    def emit(name: EventName, payload: Snapshot, _: list[str]) -> None:
        view.show(name, payload)
        if payload["state"] not in ACTIVE:
            end = by_id[payload["id"]].end = cast(Ending, payload)
            view.finish(end)

    adapter = ProgressAdapter(emit, settings.stall_seconds)
    for position, load in enumerate(loads, 1):
        load.load_id = secrets.token_hex(8)
        adapter.queued(load.model_id, load.load_id, position)
    try:
        with Launcher(warm_up_path=settings.warm_up_path) as launcher:
            for load in loads:
                _load(settings, launcher, adapter, load, options)
    except KeyboardInterrupt:
        for load in loads:
            if adapter.is_open(load.model_id):
                adapter.cancelled(load.model_id, "cli")
        raise


def _load(
    settings: Settings,
    launcher: Launcher,
    adapter: ProgressAdapter,
    load: RequestedLoad,
    options: LoadOptions,
) -> None:
    def admit(need_bytes: int) -> None:
        if not options.force:
            check_fits(load.model_id, need_bytes, free_for_load())

    spec = load_spec(settings, load.model_id, options)
    entry = Catalogue(settings.models_dir, demo_dir=settings.demo_dir).find(load.model_id)
    expect = Experience().of(load.model_id)
    conditions = conditions_of(launcher, spec, entry)
    announce(adapter, launcher, str(load.load_id), load.model_id, conditions, expect)
    try:
        with launcher.worker(spec) as worker:
            facts = follow(adapter, launcher, worker, spec, admit)
    except ModelhubError as error:
        adapter.failed(load.model_id, error)
    else:
        assert facts is not None  # noqa: S101 - only a cancelled load has none
        adapter.completed(load.model_id, facts)
