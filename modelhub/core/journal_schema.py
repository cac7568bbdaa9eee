"""The tables of the journal: what each version of the file added, and how an old file becomes a new one."""

from __future__ import annotations

import sqlite3

from modelhub.errors import ModelhubError

MIGRATIONS = (  # the n-th makes version n of a file that has version n - 1; PRAGMA user_version keeps it
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
    """
    CREATE INDEX loads_by_model_and_state ON loads (model_id, state, requested_at);
    DROP INDEX loads_by_model;
    CREATE INDEX loads_with_timeline ON loads (requested_at) WHERE timeline IS NOT NULL;
    CREATE TABLE timelines (load_id TEXT PRIMARY KEY, timeline BLOB NOT NULL);

    CREATE TABLE counts (
        model_id TEXT, state TEXT, loads INTEGER NOT NULL, PRIMARY KEY (model_id, state)
    ) WITHOUT ROWID;
    INSERT INTO counts SELECT model_id, state, count(*) FROM loads GROUP BY model_id, state;
    CREATE TRIGGER count_added AFTER INSERT ON loads BEGIN
        INSERT INTO counts VALUES (new.model_id, new.state, 1)
            ON CONFLICT DO UPDATE SET loads = loads + 1;
    END;
    CREATE TRIGGER count_changed AFTER UPDATE OF state ON loads WHEN old.state <> new.state BEGIN
        UPDATE counts SET loads = loads - 1 WHERE model_id = old.model_id AND state = old.state;
        INSERT INTO counts VALUES (new.model_id, new.state, 1)
            ON CONFLICT DO UPDATE SET loads = loads + 1;
    END;
    CREATE TRIGGER count_deleted AFTER DELETE ON loads BEGIN
        UPDATE counts SET loads = loads - 1 WHERE model_id = old.model_id AND state = old.state;
        DELETE FROM counts WHERE model_id = old.model_id AND state = old.state AND loads = 0;
        DELETE FROM timelines WHERE load_id = old.load_id;
    END;
    """,
    """
    ALTER TABLE loads ADD COLUMN conditions TEXT;
    ALTER TABLE loads ADD COLUMN forecast TEXT;
    """,
    """
    ALTER TABLE loads ADD COLUMN to_resume INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX loads_to_resume ON loads (requested_at) WHERE to_resume;
    """,
    """
    ALTER TABLE loads ADD COLUMN node TEXT;
    ALTER TABLE loads ADD COLUMN placement TEXT;
    """,
)


def migrate(database: sqlite3.Connection) -> None:
    """Bring the file up to date in one transaction: it has all of the new columns or none."""
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise ModelhubError("newer_journal")
    if version < len(MIGRATIONS):
        steps = "".join(MIGRATIONS[version:])
        database.executescript(f"BEGIN IMMEDIATE; {steps} PRAGMA user_version = {len(MIGRATIONS)}; COMMIT;")
