"""The journal: a row for every load that was ever requested, in SQLite (WAL), written by the server alone."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from modelhub.core.journal_queries import (
    Place,
    count_of,
    keys_of,
    old_timelines_cleared,
    oldest_deleted,
    skip,
)
from modelhub.core.journal_schema import migrate
from modelhub.core.statistics import ModelStatistics, Result, compute_statistics
from modelhub.errors import ModelhubError
from modelhub.payloads import ErrorPayload, LoadRow, Timeline
from modelhub.states import ACTIVE, Outcome, State

log = logging.getLogger(__name__)

_COLUMNS = (
    *("load_id", "model_id", "state", "by", "ended_by", "requested_at", "started_at", "ended_at", "seconds"),
    *("bytes", "memory", "device", "dtype", "source", "revision", "architecture", "parameters"),
    *("requested_device", "requested_dtype", "error", "steps", "conditions", "forecast"),
)
_COLUMNS_OF_A_NEW_LOAD = (
    *("load_id", "model_id", "state", "by", "requested_at", "requested_device", "requested_dtype"),
)
_CONDITIONS = {  # what a reader of them relies on
    *("source", "device", "dtype", "start", "wait_s", "weight_bytes", "cached_bytes", "fetch_bytes"),
    *("other_bytes", "files", "others"),
}
_JSON_COLUMNS = ("error", "steps", "conditions", "forecast")
_NEWEST_FIRST = "ORDER BY requested_at DESC, rowid DESC"
_BUSY_TIMEOUT_S = 0.2
STATISTICS_OF_NEWEST = 2_000
PAST_LOADS = 200
KEPT_TIMELINES = 10_000  # about 2 kB each
_TRIMMED_AT_ONCE = 20  # a few milliseconds
_CHECKPOINT_PAGES = 200  # written at once into the file: a few milliseconds


class Journal:
    """The loads of one data folder, which a lock file reserves for one server at a time.

    Reads and writes are short, from any thread. A write that fails (a full disk) is a logged warning: it
    never breaks a load. ``keep_loads`` is how many loads ``trim`` leaves. Raises ModelhubError
    ``already_running`` or ``newer_journal``, OSError and sqlite3.Error where the folder cannot be used.
    """

    def __init__(self, data_dir: Path, keep_loads: int = 1_000_000) -> None:
        self._keep_loads = keep_loads
        data_dir.mkdir(parents=True, exist_ok=True)
        self._lock_fd = _take_lock(data_dir / "modelhub.lock")
        self._lock = threading.Lock()
        self._database = sqlite3.connect(
            data_dir / "history.sqlite3",
            timeout=_BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
        )
        self._database.row_factory = sqlite3.Row
        self._database.execute("PRAGMA auto_vacuum=INCREMENTAL")  # has no effect on a file that exists
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
        try:
            migrate(self._database)
        except BaseException:
            self.close()
            raise

    def add(self, row: LoadRow) -> None:
        """Keep a new load, see ``new_row``."""
        places = ", ".join(f":{name}" for name in _COLUMNS_OF_A_NEW_LOAD)
        columns = ", ".join(_COLUMNS_OF_A_NEW_LOAD)
        self._write(f"INSERT INTO loads ({columns}) VALUES ({places})", row)  # noqa: S608

    def update(self, load_id: str, values: Mapping[str, object]) -> None:
        """Set columns of a load; some are kept as JSON."""
        stored = [
            json.dumps(value) if name in _JSON_COLUMNS and value is not None else value
            for name, value in values.items()
        ]
        columns = ", ".join(f"{name} = ?" for name in values)
        self._write(f"UPDATE loads SET {columns} WHERE load_id = ?", (*stored, load_id))  # noqa: S608

    def keep_timeline(self, load_id: str, timeline: Timeline) -> None:
        """Keep the timeline of a load until KEPT_TIMELINES others were kept after it."""
        packed = zlib.compress(json.dumps(timeline, separators=(",", ":")).encode())
        self._write("INSERT OR REPLACE INTO timelines VALUES (?, ?)", (load_id, packed))
        oldest = "(SELECT max(rowid) FROM timelines) - ?"
        self._write(f"DELETE FROM timelines WHERE rowid <= {oldest}", (KEPT_TIMELINES,))  # noqa: S608

    def interrupt(self) -> int:
        """Mark what a server that has ended left unfinished; return how many loads that were."""
        unfinished = self._read("WHERE state IN (?, ?)", ACTIVE)
        for row in unfinished:
            error = ModelhubError("interrupted", id=row["model_id"]).to_dict()
            self.update(row["load_id"], {"state": State.INTERRUPTED, "error": {**error, "step": None}})
        self._write("UPDATE loads SET state = ? WHERE state = ?", (State.UNLOADED.value, State.READY.value))
        return len(unfinished)

    def interrupted(self) -> dict[str, ErrorPayload]:
        """The models whose newest load was interrupted and not dismissed, with the error of that load."""
        candidates = self._fetch("SELECT model_id FROM counts WHERE state = ?", (State.INTERRUPTED.value,))
        found: dict[str, ErrorPayload] = {}
        for (model_id,) in candidates:
            keys, values = keys_of(model_id, None, limit=1)
            for row in self._read(f"WHERE rowid IN ({keys}) AND NOT is_dismissed", values):
                if row["state"] == State.INTERRUPTED and row["error"] is not None:
                    found[model_id] = row["error"]
        return found

    def dismiss(self, model_id: str) -> None:
        """Leave the loads of a model so far out of ``interrupted``; the history keeps them."""
        newest, values = keys_of(model_id, None, limit=1)
        self._write(f"UPDATE loads SET is_dismissed = 1 WHERE rowid IN ({newest})", values)  # noqa: S608

    def trim(self) -> bool:
        """Delete a few of the oldest loads beyond ``keep_loads``; returns whether it has deleted anything.

        Call it until it has not, with pauses. A load that runs, or whose model is in memory, stays.
        """
        excess = min(self.count() - self._keep_loads, _TRIMMED_AT_ONCE)
        deleted = self._write(*oldest_deleted(excess)) if excess > 0 else 0
        cleared = self._write(*old_timelines_cleared(KEPT_TIMELINES, _TRIMMED_AT_ONCE))
        if deleted + cleared > 0:
            self._write("PRAGMA incremental_vacuum(100)", ())
        return deleted + cleared > 0

    def load(self, load_id: str) -> LoadRow | None:
        """One load, or None."""
        rows = self._read("WHERE load_id = ?", (load_id,))
        return rows[0] if rows else None

    def loads(
        self,
        model_id: str | None = None,
        outcome: Outcome | None = None,
        limit: int = 50,
        offset: int = 0,
        before: str | None = None,
        after: str | None = None,
    ) -> list[LoadRow]:
        """The newest loads first, of one model or of all, with one outcome or with any.

        ``before`` is the id of a load: of those older than it the newest; ``after``: of those newer than it
        the oldest. Both cost the same wherever in the journal that is. Raises ``unknown_load``.
        """
        cursor = before or after
        if cursor is not None:
            keys = keys_of(model_id, outcome, limit, offset, self._place(cursor), cursor == before)
        else:
            # Skipped entries are read: from the end that is nearer.
            total = self.count(model_id, outcome) if offset else 0
            limit = min(limit, max(0, total - offset)) if offset else limit
            is_near = 2 * offset <= total
            skipped = offset if is_near else total - offset - limit
            place, skipped = skip(self._fetch, model_id, outcome, skipped, is_near)
            keys = keys_of(model_id, outcome, limit, skipped, place, is_near)
        return self._read(f"WHERE rowid IN ({keys[0]}) {_NEWEST_FIRST}", keys[1])

    def past(self) -> list[LoadRow]:
        """The newest loads that have completed, the oldest of them first: what forecasts are made from."""
        keys, values = keys_of(None, Outcome.COMPLETED, PAST_LOADS)
        return self._read(f"WHERE rowid IN ({keys}) {_NEWEST_FIRST}", values)[::-1]

    def count(self, model_id: str | None = None, outcome: Outcome | None = None) -> int:
        """How many loads ``loads`` would list without a limit."""
        return int(self._fetch(*count_of(model_id, outcome))[0][0])

    def timeline(self, load_id: str) -> Timeline | None:
        """The timeline of a load; None where none is kept."""
        rows = self._fetch("SELECT timeline FROM timelines WHERE load_id = ?", (load_id,))
        if rows:
            return _timeline(zlib.decompress(rows[0][0]))
        rows = self._fetch("SELECT timeline FROM loads WHERE load_id = ?", (load_id,))
        return _timeline(rows[0][0]) if rows and rows[0][0] is not None else None

    def statistics(self, model_id: str | None = None) -> list[ModelStatistics]:
        """The statistics of each model over its share of the newest STATISTICS_OF_NEWEST loads."""
        keys, values = keys_of(model_id, None, STATISTICS_OF_NEWEST)
        columns = "model_id, state, seconds, bytes, json_extract(forecast, '$.seconds')"
        select = f"SELECT {columns} FROM loads WHERE rowid IN ({keys}) {_NEWEST_FIRST}"  # noqa: S608
        return compute_statistics(Result(*row) for row in self._fetch(select, values))

    def close(self) -> None:
        """Close the database and release the lock."""
        with self._lock:
            self._database.close()
        os.close(self._lock_fd)

    def _place(self, load_id: str) -> Place:
        rows = self._fetch("SELECT requested_at, rowid FROM loads WHERE load_id = ?", (load_id,))
        if not rows:
            raise ModelhubError("unknown_load", id=load_id)
        return Place(*rows[0])

    def _read(self, clauses: str, values: tuple[object, ...]) -> list[LoadRow]:
        select = f"SELECT {', '.join(_COLUMNS)} FROM loads {clauses}"  # noqa: S608
        return [_load_row(row) for row in self._fetch(select, values)]

    def _fetch(self, statement: str, values: tuple[object, ...]) -> list[sqlite3.Row]:
        with self._lock:
            return self._database.execute(statement, values).fetchall()

    def _write(self, statement: str, values: tuple[object, ...] | Mapping[str, object]) -> int:
        """Run a statement; returns how many rows it has changed, 0 where it could not be run."""
        try:
            with self._lock:
                cursor = self._database.execute(statement, values)
                cursor.fetchall()
                return max(0, cursor.rowcount)
        except sqlite3.Error as error:
            log.warning("The journal of loads could not be written: %s", error)
            return 0


def new_row(load_id: str, model_id: str, by: str, device: str = "auto", dtype: str = "auto") -> LoadRow:
    """The row of a load that has just been requested; ``by`` is page, rest, cli or preload."""
    row = dict.fromkeys(_COLUMNS)
    known = {"load_id": load_id, "model_id": model_id, "by": by, "requested_at": time.time()}
    known |= {"requested_device": device, "requested_dtype": dtype}
    return cast(LoadRow, {**row, **known, "state": State.QUEUED})


def _timeline(text: str | bytes) -> Timeline:
    """A timeline as it was kept; older ones have only counts of bytes."""
    return cast(Timeline, {"counts": [], **json.loads(text)})


def _load_row(row: sqlite3.Row) -> LoadRow:
    values = dict(row)
    for name in _JSON_COLUMNS:
        if values.get(name) is not None:
            values[name] = json.loads(values[name])
    if not set(values.get("conditions") or ()) >= _CONDITIONS:
        values["conditions"] = None  # another version wrote down something else
    return cast(LoadRow, {**values, "state": State(values["state"])})


def _take_lock(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise ModelhubError("already_running") from None
    return descriptor
