"""The journal: a row for every load that was ever asked for, in SQLite (WAL), written by the server alone."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

from modelhub.errors import ModelhubError

log = logging.getLogger(__name__)

_SCHEMA = """
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
"""
_JSON_COLUMNS = ("error", "steps")
_UNFINISHED = ("queued", "loading")
_BUSY_TIMEOUT_S = 0.2


class Journal:
    """The loads of one data folder. One server at a time: a lock file sees to it.

    Reads and writes are short. A write that fails (a full disk) is a logged warning: it never breaks a load.
    """

    def __init__(self, data_dir: Path) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        self._guard = _take_lock(data_dir / "modelhub.lock")
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
        self._database.executescript(_SCHEMA)

    def add(self, load_id: str, model_id: str, by: str) -> None:
        """A load was asked for."""
        self._write(
            "INSERT INTO loads (load_id, model_id, state, by, requested_at) VALUES (?, ?, 'queued', ?, ?)",
            (load_id, model_id, by, time.time()),
        )

    def update(self, load_id: str, **values: Any) -> None:
        """Set columns of a load; ``error`` (a dict) and ``steps`` (a list of seconds) are kept as JSON."""
        for name in _JSON_COLUMNS:
            if name in values and values[name] is not None:
                values[name] = json.dumps(values[name])
        columns = ", ".join(f"{name} = ?" for name in values)
        self._write(f"UPDATE loads SET {columns} WHERE load_id = ?", (*values.values(), load_id))  # noqa: S608

    def interrupt(self) -> int:
        """Mark what a server that is gone left unfinished; answers how many loads that were."""
        unfinished = self._read("WHERE state IN (?, ?)", _UNFINISHED)
        for row in unfinished:
            error = ModelhubError("interrupted", id=row["model_id"]).to_dict()
            self.update(row["load_id"], state="interrupted", error={**error, "step": None})
        self._write("UPDATE loads SET state = 'unloaded' WHERE state = 'ready'", ())
        return len(unfinished)

    def load(self, load_id: str) -> dict[str, Any] | None:
        """One load, or None."""
        rows = self._read("WHERE load_id = ?", (load_id,))
        return rows[0] if rows else None

    def loads(self, model_id: str | None = None, limit: int = 50) -> list[dict[str, Any]]:
        """The newest loads first, of one model or of all."""
        if model_id is None:
            return self._read("ORDER BY requested_at DESC, rowid DESC LIMIT ?", (limit,))
        return self._read(
            "WHERE model_id = ? ORDER BY requested_at DESC, rowid DESC LIMIT ?", (model_id, limit)
        )

    def close(self) -> None:
        """Give back the database and the lock."""
        with self._lock:
            self._database.close()
        os.close(self._guard)

    def _read(self, clauses: str, values: tuple[Any, ...]) -> list[dict[str, Any]]:
        with self._lock:
            rows = self._database.execute(f"SELECT * FROM loads {clauses}", values).fetchall()  # noqa: S608
        return [_resource(row) for row in rows]

    def _write(self, statement: str, values: tuple[Any, ...]) -> None:
        try:
            with self._lock:
                self._database.execute(statement, values)
        except sqlite3.Error as error:
            log.warning("The journal of loads could not be written: %s", error)


def _resource(row: sqlite3.Row) -> dict[str, Any]:
    values = dict(row)
    for name in _JSON_COLUMNS:
        if values[name] is not None:
            values[name] = json.loads(values[name])
    return values


def _take_lock(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise ModelhubError("already_running") from None
    return descriptor
