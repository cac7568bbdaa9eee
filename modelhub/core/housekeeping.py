"""What a server does beside its loads: takes over from the last one, looks after folders and journal."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from modelhub.config import Settings
from modelhub.core.catalogue import Catalogue
from modelhub.core.experience import Experience
from modelhub.core.folder_watch import signature
from modelhub.core.journal import Journal
from modelhub.core.lifecycle import Lifecycle
from modelhub.core.model_files import ModelFiles
from modelhub.errors import ModelhubError
from modelhub.payloads import ErrorPayload, LoadRow
from modelhub.progress.adapter import ProgressAdapter

log = logging.getLogger(__name__)
_LOOK_S = 2.0  # how often the folders of models are looked at
_REST = 4.0  # times as long as the look took, where that is longer
_TRIM_PAUSE_S = 0.05  # between two deletions of a few loads
_TRIM_EVERY_S = 3600.0
_MEND_S = 1.0  # how often the journal's file is looked at, and what is degraded


class Housekeeping:
    """For ``core.registry``; ``watch_folders``, ``trim_journal`` and ``mend`` are for a thread each, until
    ``closing`` is set. ``announce_change`` has pages read again what is listed, and what is ``degraded``."""

    def __init__(
        self,
        settings: Settings,
        catalogue: ModelFiles,
        lifecycle: Lifecycle,
        adapter: ProgressAdapter,
        experience: Experience,
        journal: Callable[[], Journal],
        degraded: Callable[[], list[ErrorPayload]],
        announce_change: Callable[[], None],
        closing: threading.Event,
    ) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._lifecycle = lifecycle
        self._adapter = adapter
        self._experience = experience
        self._journal = journal
        self._degraded = degraded
        self._announce_change = announce_change
        self._closing = closing

    def take_over(self, journal: Journal) -> list[LoadRow]:
        """Interrupt what an earlier server has left, learn from its loads; returns what it had in hand."""
        journal.interrupt(but=self._lifecycle.load_ids())
        self._experience.learn((row, journal.timeline(row["load_id"])) for row in journal.past())
        for model_id, reason in journal.interrupted().items():
            if not self._adapter.knows(model_id):
                self._adapter.restore_interrupted(model_id, reason)
        return journal.take_to_resume()

    def resume(self, rows: list[LoadRow]) -> None:
        """Load again what the last server had ready, loading or waiting, if that is wanted."""
        for row in rows if self._settings.resume else ():
            device, dtype = row["requested_device"], row["requested_dtype"]
            try:
                self._lifecycle.start(
                    row["model_id"],
                    by="resume",
                    device=None if device == self._settings.device else device,
                    dtype=None if dtype == self._settings.dtype else dtype,
                )
            except ModelhubError as error:
                log.warning("%s cannot be resumed: %s", row["model_id"], error)

    def watch_folders(self) -> None:
        """Announce the folders of this machine that come and go; for a thread of its own."""
        if not isinstance(self._catalogue, Catalogue):
            return
        folders = self._catalogue.models_dir, self._catalogue.cache_dir
        before, took_s = signature(*folders), 0.0
        # A slow disk is left alone for most of the time.
        while not self._closing.wait(max(_LOOK_S, _REST * took_s)):
            began = time.monotonic()
            now = signature(*folders)
            took_s = time.monotonic() - began
            if now != before:
                before = now
                self._catalogue.refresh()
                self._announce_change()

    def trim_journal(self) -> None:
        """Delete the loads that are beyond ``keep_loads``, a few at a time; for a thread of its own."""
        while not self._closing.is_set():
            has_more = self._journal().trim()
            self._closing.wait(_TRIM_PAUSE_S if has_more else _TRIM_EVERY_S)

    def mend(self) -> None:
        """Look after the journal, and announce what is degraded and what no longer is; for its own thread."""
        before: list[ErrorPayload] = []
        while not self._closing.is_set():
            if self._journal().mend():  # it has loads of an earlier run, which could not be read before
                self.resume(self.take_over(self._journal()))
            now = self._degraded()
            if now != before:
                before = now
                self._announce_change()
            if self._journal().failed.wait(_MEND_S):
                self._closing.wait(_MEND_S / 10)  # a file that fails again and again does not keep it busy
