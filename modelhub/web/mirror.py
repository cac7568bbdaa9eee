"""What a web process knows of the hub, the server that loads models. ``web.follower`` keeps it up to date."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from modelhub.core.budget import Budget
from modelhub.payloads import ErrorPayload, ModelResource, NodeStatus, Readiness, ShownSettings
from modelhub.progress.adapter import ProgressAdapter

LIVE_S = 3.0  # after so long without a word, the hub counts as away


@dataclass(slots=True)
class Mirror:
    """One web process's copy of the hub's state; requests are answered from it."""

    adapter: ProgressAdapter  # the logs of events, filled by the follower; its epoch is that of the hub
    hub: str  # the address of the hub, as that has published it; empty before that
    fence: int = 0  # of the hub that is followed; a command is for that one
    # The whole list, by id: ``state``, ``snapshot`` and ``prepared`` are as of now, ``fits`` is not.
    models: dict[str, ModelResource] = field(default_factory=dict)
    budget: Budget | None = None
    prepared: frozenset[str] = frozenset()
    list_version: str = ""
    degraded: list[ErrorPayload] = field(default_factory=list)
    nodes: list[NodeStatus] = field(default_factory=list)
    readiness: Readiness | None = None
    shown: ShownSettings | None = None
    tokens: frozenset[str] | None = None  # names those that the hub asks for
    heard_at: float | None = None  # of the last word of the hub, on the monotonic clock
    on_live: list[Callable[[bool], None]] = field(default_factory=list)  # called when ``is_live`` changes
    # Called when another hub is followed, or the list of models is another
    on_change: list[Callable[[], None]] = field(default_factory=list)
    on_prepared: list[Callable[[], None]] = field(default_factory=list)  # when other models are prepared
    on_parts: list[Callable[[], None]] = field(default_factory=list)  # when models have other memory
    on_logged_out: list[Callable[[list[str]], None]] = field(default_factory=list)  # with the sessions
    on_stopping: list[Callable[[], None]] = field(default_factory=list)  # when the hub is about to end

    @property
    def is_live(self) -> bool:
        """Whether the hub has been heard of just now."""
        return self.heard_at is not None and time.monotonic() - self.heard_at < LIVE_S
