"""The registry as whoever only reads it sees it: that of the server that loads models, or a copy of it.

What pages, reading REST, Socket.IO and server-sent events ask of a registry is here, so that a web process
can answer it from memory. Commands take the registry itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from modelhub.config import Settings
from modelhub.core.budget import Budget
from modelhub.core.listing import Listed
from modelhub.errors import ModelhubError
from modelhub.payloads import (
    ErrorPayload,
    LoadResource,
    ModelResource,
    NodeStatus,
    Particulars,
    Readiness,
    Snapshot,
)
from modelhub.progress.adapter import ProgressAdapter

Hooks = list[Callable[[], None]]


class ModelList(Protocol):
    """The list of models, see ``core.listing.Listing``."""

    def all(self) -> list[Listed]:
        """Every model, by id."""

    def count(self) -> int:
        """About how many there are; takes no time."""

    def has(self, model_id: str) -> bool:
        """Whether the list has the model."""

    def touched(self) -> list[ModelResource]:
        """The models that are not just on disk: in memory, loading, waiting, failed, unloaded..."""

    def resources(self, ids: Iterable[str]) -> list[ModelResource]:
        """The models of these ids, which are in the list."""


class Reading(Protocol):
    """See ``core.registry.Registry``, which is one."""

    on_start: Hooks
    on_change: Hooks
    on_prepared: Hooks
    on_parts: Hooks
    on_stopping: Hooks
    on_close: Hooks
    troubles: list[Callable[[], Iterable[ModelhubError]]]

    @property
    def settings(self) -> Settings:
        """The settings of this process."""

    @property
    def epoch(self) -> str:
        """Names the run of the server that loads models."""

    @property
    def adapter(self) -> ProgressAdapter:
        """The logs of events."""

    @property
    def listing(self) -> ModelList:
        """The list of models."""

    @property
    def list_version(self) -> str:
        """Another text whenever the list is another."""

    @property
    def is_complete(self) -> bool:
        """Whether the list is whole."""

    def start(self) -> None:
        """Begin; calling it again does nothing."""

    def close(self) -> None:
        """End."""

    def id_of(self, text: str) -> str:
        """The id of what a person or a client names; raises ``invalid_id``."""

    def known_id(self, text: str) -> str:
        """The id of a model that there is something to say about; raises ``unknown_model``."""

    def model(self, model_id: str) -> ModelResource:
        """One model; raises ``unknown_model``."""

    def snapshot(self, model_id: str) -> Snapshot:
        """The full state of a model as of now."""

    def load(self, load_id: str) -> LoadResource:
        """One load; raises ``unknown_load``."""

    def particulars(self, model_id: str, with_outlook: bool) -> Particulars:
        """What the page of a model shows beside its state."""

    def budget(self) -> Budget:
        """Memory use by owner."""

    def devices(self) -> Sequence[str]:
        """The devices that a load can choose."""

    def nodes(self) -> list[NodeStatus]:
        """The nodes of a cluster; without one none."""

    def prepared(self) -> frozenset[str]:
        """The models that are kept prepared."""

    def readiness(self) -> Readiness:
        """Whether requests are answered as they should be."""

    def tokens_of_hub(self) -> frozenset[str] | None:
        """In a web process, what names the tokens that the hub asks for; None where that is not known."""

    def away(self) -> str:
        """That what is said is of an earlier moment, in words; empty where it is of now."""

    def degraded(self) -> list[ErrorPayload]:
        """What does not work as it should."""
