"""The journal: a row for every load that was ever requested, in SQLite (WAL), written by the server alone."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from modelhub.core.statistics import ModelStatistics, Result, compute_statistics
from modelhub.errors import ModelhubError
from modelhub.payloads import ErrorPayload, LoadRow, Timeline
from modelhub.states import ACTIVE, STATES_OF_OUTCOME, Outcome, State

log = logging.getLogger(__name__)

_MIGRATIONS = (  # the n-th makes version n of a file that has version n - 1; PRAGMA user_version keeps it
    """
    CREATE TABLE IF NOT EXISTS loads (
        load_id TEXT PRIMARY KEY,
        model_id TEXT NOT NULL,
        state TEXT NOT NULL,
        by TEXT NOT NULL,
        requested_at REAL NOT NULL,
        started_at REAL,
        ended_at REAL,
        seconds REAL,
        bytes INTEGER,
        device TEXT,
        dtype TEXT,
        error TEXT,
        steps TEXT
    );
    CREATE INDEX IF NOT EXISTS loads_by_model ON loads (model_id, requested_at);
    """,
    """
    ALTER TABLE loads ADD COLUMN ended_by TEXT;
    ALTER TABLE loads ADD COLUMN source TEXT;
    ALTER TABLE loads ADD COLUMN revision TEXT;
    ALTER TABLE loads ADD COLUMN architecture TEXT;
    ALTER TABLE loads ADD COLUMN parameters INTEGER;
    ALTER TABLE loads ADD COLUMN memory INTEGER;
    ALTER TABLE loads ADD COLUMN timeline TEXT;
    CREATE INDEX loads_by_time ON loads (requested_at);
    CREATE INDEX loads_by_state ON loads (state, requested_at);
    """,
    """
    ALTER TABLE loads ADD COLUMN requested_device TEXT;
    ALTER TABLE loads ADD COLUMN requested_dtype TEXT;
    """,
    """
    ALTER TABLE loads ADD COLUMN is_dismissed INTEGER NOT NULL DEFAULT 0;
    """,
)
# All but the timeline, which is long and needed for one load at a time.
_COLUMNS = (
    *("load_id", "model_id", "state", "by", "ended_by", "requested_at", "started_at", "ended_at", "seconds"),
    *("bytes", "memory", "device", "dtype", "source", "revision", "architecture", "parameters"),
    *("requested_device", "requested_dtype", "error", "steps"),
)
_COLUMNS_OF_A_NEW_LOAD = (
    *("load_id", "model_id", "state", "by", "requested_at", "requested_device", "requested_dtype"),
)
_JSON_COLUMNS = ("error", "steps", "timeline")
_NEWEST_FIRST = "ORDER BY requested_at DESC, rowid DESC LIMIT ? OFFSET ?"
_BUSY_TIMEOUT_S = 0.2
STATISTICS_OF_NEWEST = 2_000


class Journal:
    """The loads of one data folder, which a lock file reserves for one server at a time.

    Reads and writes are short, from any thread. A write that fails (a full disk) is a logged warning: it
    never breaks a load. Raises ModelhubError ``already_running`` or ``newer_journal``, OSError and
    sqlite3.Error where the folder cannot be used.
    """

    def __init__(self, data_dir: Path) -> None:
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
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        try:
            _migrate(self._database)
        except BaseException:
            self.close()
            raise

    def add(self, row: LoadRow) -> None:
        """Keep a new load, see ``new_row``."""
        places = ", ".join(f":{name}" for name in _COLUMNS_OF_A_NEW_LOAD)
        columns = ", ".join(_COLUMNS_OF_A_NEW_LOAD)
        self._write(f"INSERT INTO loads ({columns}) VALUES ({places})", row)  # noqa: S608

    def update(self, load_id: str, values: Mapping[str, object]) -> None:
        """Set columns of a load; ``error``, ``steps`` and ``timeline`` are kept as JSON."""
        stored = [
            json.dumps(value) if name in _JSON_COLUMNS and value is not None else value
            for name, value in values.items()
        ]
        columns = ", ".join(f"{name} = ?" for name in values)
        self._write(f"UPDATE loads SET {columns} WHERE load_id = ?", (*stored, load_id))  # noqa: S608

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
        newest = "rowid IN (SELECT max(rowid) FROM loads GROUP BY model_id)"
        rows = self._read(f"WHERE {newest} AND state = ? AND NOT is_dismissed", (State.INTERRUPTED.value,))
        return {row["model_id"]: row["error"] for row in rows if row["error"] is not None}

    def dismiss(self, model_id: str) -> None:
        """Leave the loads of a model so far out of ``interrupted``; the history keeps them."""
        self._write("UPDATE loads SET is_dismissed = 1 WHERE model_id = ?", (model_id,))

    def load(self, load_id: str) -> LoadRow | None:
        """One load, or None."""
        rows = self._read("WHERE load_id = ?", (load_id,))
        return rows[0] if rows else None

    def loads(
        self, model_id: str | None = None, outcome: Outcome | None = None, limit: int = 50, offset: int = 0
    ) -> list[LoadRow]:
        """The newest loads first, of one model or of all, with one outcome or with any."""
        where, values = _filter(model_id, outcome)
        return self._read(f"{where} {_NEWEST_FIRST}", (*values, limit, offset))

    def count(self, model_id: str | None = None, outcome: Outcome | None = None) -> int:
        """How many loads ``loads`` would list without a limit."""
        where, values = _filter(model_id, outcome)
        return int(self._fetch(f"SELECT count(*) FROM loads {where}", values)[0][0])  # noqa: S608

    def timeline(self, load_id: str) -> Timeline | None:
        """The timeline of a load; None where none is kept."""
        rows = self._fetch("SELECT timeline FROM loads WHERE load_id = ?", (load_id,))
        return json.loads(rows[0][0]) if rows and rows[0][0] is not None else None

    def statistics(self, model_id: str | None = None) -> list[ModelStatistics]:
        """The statistics of each model over its share of the newest STATISTICS_OF_NEWEST loads."""
        where, values = _filter(model_id, None)
        select = f"SELECT model_id, state, seconds, bytes FROM loads {where} {_NEWEST_FIRST}"  # noqa: S608
        rows = self._fetch(select, (*values, STATISTICS_OF_NEWEST, 0))
        return compute_statistics(Result(*row) for row in rows)

    def close(self) -> None:
        """Close the database and release the lock."""
        with self._lock:
            self._database.close()
        os.close(self._lock_fd)

    def _read(self, clauses: str, values: tuple[object, ...]) -> list[LoadRow]:
        select = f"SELECT {', '.join(_COLUMNS)} FROM loads {clauses}"  # noqa: S608
        return [_load_row(row) for row in self._fetch(select, values)]

    def _fetch(self, statement: str, values: tuple[object, ...]) -> list[sqlite3.Row]:
        with self._lock:
            return self._database.execute(statement, values).fetchall()

    def _write(self, statement: str, values: tuple[object, ...] | Mapping[str, object]) -> None:
        try:
            with self._lock:
                self._database.execute(statement, values)
        except sqlite3.Error as error:
            log.warning("The journal of loads could not be written: %s", error)


def _migrate(database: sqlite3.Connection) -> None:
    """Bring the file up to date in one transaction: it has all of the new columns or none."""
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > len(_MIGRATIONS):
        raise ModelhubError("newer_journal")
    if version < len(_MIGRATIONS):
        steps = "".join(_MIGRATIONS[version:])
        database.executescript(f"BEGIN IMMEDIATE; {steps} PRAGMA user_version = {len(_MIGRATIONS)}; COMMIT;")


def _filter(model_id: str | None, outcome: Outcome | None) -> tuple[str, tuple[object, ...]]:
    clauses: list[str] = []
    values: list[str] = []
    if model_id is not None:
        clauses.append("model_id = ?")
        values.append(model_id)
    if outcome is not None:
        states = STATES_OF_OUTCOME[outcome]
        clauses.append(f"state IN ({', '.join('?' * len(states))})")
        values += states
    return ("WHERE " + " AND ".join(clauses) if clauses else ""), tuple(values)


def new_row(load_id: str, model_id: str, by: str, device: str = "auto", dtype: str = "auto") -> LoadRow:
    """The row of a load that has just been requested; ``by`` is page, rest, cli or preload."""
    row = dict.fromkeys(_COLUMNS)
    known = {"load_id": load_id, "model_id": model_id, "by": by, "requested_at": time.time()}
    known |= {"requested_device": device, "requested_dtype": dtype}
    return cast(LoadRow, {**row, **known, "state": State.QUEUED})


def _load_row(row: sqlite3.Row) -> LoadRow:
    values = dict(row)
    for name in _JSON_COLUMNS:
        if values.get(name) is not None:
            values[name] = json.loads(values[name])
    return cast(LoadRow, {**values, "state": State(values["state"])})


def _take_lock(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise ModelhubError("already_running") from None
    return descriptor
