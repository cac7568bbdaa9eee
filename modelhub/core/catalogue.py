"""The models on this machine, by name and size: models folder, Hugging Face cache, demos."""

from __future__ import annotations

import json
import logging
import os
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from huggingface_hub.constants import HF_HUB_CACHE

from modelhub.core.model_files import ModelFiles, find_in
from modelhub.core.pauses import Pauses
from modelhub.core.scan import Entry, Folders, Scanner
from modelhub.formats import CONFIG

log = logging.getLogger(__name__)
_MAX_AGE_S = 2.0
_PATIENCE_S = 1.0  # how long one who looks waits for a scan, from its beginning
_DEMO_TYPE = "llama"
_MODEL_TYPE = re.compile(r"[a-z0-9_-]{1,64}")
_CONFIG_LIMIT_BYTES = 1_000_000


class Catalogue(ModelFiles):
    """Scans the folders on demand, at most every two seconds; all that look meanwhile share one scan.

    A scan has a thread of its own. On a slow disk it takes longer than one who looks wants to wait: they get
    what the last scan found, or what the first one has found so far. ``on_late`` is called once such a scan
    has ended and found something else; ``version`` is another number whenever the list is another.
    """

    def __init__(self, models_dir: Path, cache_dir: Path | None = None, demo_dir: Path | None = None) -> None:
        super().__init__()
        self.models_dir = models_dir
        self.cache_dir = cache_dir or Path(HF_HUB_CACHE)
        self.demo_dir = demo_dir or Path(os.devnull)
        self._scanner = Scanner()
        self._changed = threading.Condition()  # guards what follows; notified at the end of each scan
        self._begun = self._ended = self._wanted = 0  # scans, by number
        self._began_at = self._ended_at = float("-inf")
        self._is_stale = True

    def entries(self) -> Mapping[str, Entry]:
        """Every model found, by id; the models folder has precedence over the cache, as when loading."""
        with self._changed:
            is_running = self._begun > self._ended
            if self._is_stale or not (is_running or time.monotonic() - self._ended_at <= _MAX_AGE_S):
                self._wanted = self._begun + 1
                if not is_running:
                    self._begin()
                    threading.Thread(target=self._scan, daemon=True).start()
            patience_s = self._began_at + _PATIENCE_S - time.monotonic()
            self._changed.wait_for(lambda: self._ended >= self._wanted, max(0.0, patience_s))
        return self.last

    def refresh(self) -> None:
        """Have the next call scan the folders again: something in them has just changed."""
        self._is_stale = True

    def find(self, model_id: str) -> Entry | None:
        """The model, if it is on this machine. One with a revision is looked up by its repo."""
        found = find_in(self.entries(), model_id)
        if found is None:
            # It may be new, and a scan may take its time: one folder is soon looked at.
            here: dict[str, Entry] = {}
            _merge(here, self._scanner.look(model_id.partition("@")[0], self._folders()))
            found = find_in(here, model_id)
        return found

    def nodes_of(self, model_id: str) -> Sequence[str]:
        """None: this is no cluster."""
        return ()

    def _folders(self) -> Folders:
        return Folders(self.models_dir, self.cache_dir, self.demo_dir)

    def _begin(self) -> None:
        self._begun, self._is_stale, self._began_at = self._begun + 1, False, time.monotonic()

    def _scan(self) -> None:
        """Scan, and again while somebody looks who knows of a newer change."""
        while True:
            before = self.last
            found: dict[str, Entry] = {}
            try:
                _merge(found, self._shown(found, self._scanner.scan(self._folders())))
            except Exception:
                log.exception("The folders of models could not be scanned")
                found = dict(before)
            with self._changed:
                is_other = found != before
                # The same object while nothing changes: what was made of it can be kept.
                self.last = found if is_other else before
                self._ended, self._ended_at = self._begun, time.monotonic()
                is_late = self._ended_at - self._began_at > _PATIENCE_S
                is_new = is_other or not self.is_complete
                self.version += is_new
                self.is_complete = True
                if is_again := self._wanted > self._ended:
                    self._begin()
                self._changed.notify_all()
            for hook in self.on_late if is_late and is_new else ():
                hook()
            if not is_again:
                return

    def _shown(self, found: dict[str, Entry], entries: Iterable[Entry]) -> Iterator[Entry]:
        """``entries``, of which the first scan shows what it has found so far."""
        shown_at = time.monotonic()
        for entry in entries:
            yield entry
            if not self.is_complete and time.monotonic() - shown_at > _PATIENCE_S:
                self.last, shown_at = dict(found), time.monotonic()

    def forget(self, model_id: str) -> None:
        """The model's files have just been deleted."""
        self.last = {name: entry for name, entry in self.last.items() if name != model_id}
        self.version += 1
        self.refresh()

    def model_types(self) -> list[str]:
        """The types of the models on this machine, as their configurations name them.

        On a slow disk not of all: they are imported ahead, and whoever needs them waits for this.
        """
        folders = [entry.folder for entry in self.entries().values() if entry.folder is not None]
        pause, deadline = Pauses(), time.monotonic() + _PATIENCE_S
        types = {_DEMO_TYPE}
        for folder in folders:
            types |= _model_types(folder)
            pause()
            if time.monotonic() > deadline:
                break
        return sorted(types)


def _merge(found: dict[str, Entry], entries: Iterable[Entry]) -> None:
    """Add entries in their order: a later one replaces one of the same id, with one exception."""
    for entry in entries:
        known = found.get(entry.model_id)
        # A folder without config.json does not hide a model that can be loaded without it.
        is_hidden = entry.source == "folder" and known is not None and known.size_bytes is not None
        if not is_hidden or (entry.path / CONFIG).is_file():
            found[entry.model_id] = entry


def _model_types(folder: Path) -> set[str]:
    try:
        with (folder / CONFIG).open("rb") as file:
            name = json.loads(file.read(_CONFIG_LIMIT_BYTES)).get("model_type")
    except (OSError, ValueError, AttributeError, RecursionError):
        return set()
    return {name} if isinstance(name, str) and _MODEL_TYPE.fullmatch(name) else set()
