"""The journal: a row for every load that was ever requested, in SQLite (WAL), written by the server alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from modelhub.core.journal_queries import (
    Place,
    count_of,
    keys_of,
    old_timelines_cleared,
    oldest_deleted,
    skip,
)
from modelhub.core.journal_rows import (
    COLUMNS,
    COLUMNS_OF_A_NEW_LOAD,
    PUT_TIMELINE,
    load_row,
    new_row,
    packed,
    stored,
    unpacked,
)
from modelhub.core.journal_store import JournalStore
from modelhub.core.statistics import ModelStatistics, Result, compute_statistics
from modelhub.errors import ModelhubError
from modelhub.payloads import ErrorPayload, LoadRow, Timeline
from modelhub.states import ACTIVE, Outcome, State

__all__ = ("KEPT_TIMELINES", "PAST_LOADS", "STATISTICS_OF_NEWEST", "Journal", "new_row")

_NEWEST_FIRST = "ORDER BY requested_at DESC, rowid DESC"
STATISTICS_OF_NEWEST = 2_000
PAST_LOADS = 200
KEPT_TIMELINES = 10_000  # about 2 kB each
_TRIMMED_AT_ONCE = 20  # a few milliseconds


class Journal:
    """The loads of one data folder, which a lock file reserves for one server at a time.

    Reads and writes are short, from any thread, and no load depends on them: where the file cannot be used,
    they are of the newest loads, which are in memory, and ``mend`` writes down what the file lacks once it
    can be used (``core.journal_store``). ``keep_loads`` is how many loads ``trim`` leaves. ``on_folder`` is
    called when the folder was lost and is this server's again. Raises ModelhubError ``already_running`` or
    ``newer_journal``, and OSError where the folder is missing and cannot be made.
    """

    def __init__(
        self, data_dir: Path, keep_loads: int = 1_000_000, on_folder: Callable[[], None] = lambda: None
    ) -> None:
        self._keep_loads = keep_loads
        self._store = JournalStore(data_dir, on_folder)
        self.failed = self._store.failed  # is set when ``mend`` should be called
        self.mend = self._store.mend
        self.troubles = self._store.troubles

    def add(self, row: LoadRow) -> None:
        """Keep a new load, see ``new_row``."""
        places = ", ".join("?" * len(COLUMNS_OF_A_NEW_LOAD))
        columns = ", ".join(COLUMNS_OF_A_NEW_LOAD)
        values = (row[name] for name in COLUMNS_OF_A_NEW_LOAD)  # type: ignore[literal-required]
        self._store.write(row["load_id"], f"INSERT INTO loads ({columns}) VALUES ({places})", values)  # noqa: S608

    def update(self, load_id: str, values: Mapping[str, object]) -> None:
        """Set columns of a load; some are kept as JSON."""
        columns = ", ".join(f"{name} = ?" for name in values)
        statement = f"UPDATE loads SET {columns} WHERE load_id = ?"  # noqa: S608
        self._store.write(load_id, statement, (*stored(values), load_id))

    def keep_timeline(self, load_id: str, timeline: Timeline) -> None:
        """Keep the timeline of a load until KEPT_TIMELINES others were kept after it."""
        self._store.write(load_id, PUT_TIMELINE, (load_id, packed(timeline)))
        oldest = "(SELECT max(rowid) FROM timelines) - ?"
        self._store.tidy(f"DELETE FROM timelines WHERE rowid <= {oldest}", (KEPT_TIMELINES,))  # noqa: S608

    def interrupt(self, but: Collection[str] = ()) -> list[LoadRow]:
        """Mark what a server that has ended left unfinished, ``but`` for these loads; return what that was.

        Those that waited or ran, or whose model was in memory, are to be resumed. A load that was itself
        resumed, and ran, is not: it may be what has ended the server.
        """
        open_rows = self._read("WHERE state IN (?, ?, ?)", (*ACTIVE, State.READY))
        left = [row for row in open_rows if row["load_id"] not in but]
        for row in left:
            values: dict[str, object] = {"state": State.UNLOADED}
            if row["state"] != State.READY:
                error = ModelhubError("interrupted", id=row["model_id"]).to_dict()
                values = {"state": State.INTERRUPTED, "error": {**error, "step": None}}
            if row["state"] != State.LOADING or row["by"] != "resume":
                values["to_resume"] = True
            self.update(row["load_id"], values)
        return left

    def take_to_resume(self) -> list[LoadRow]:
        """The loads that are to be resumed, the oldest first: once, and no more the next time."""
        rows = self._read("WHERE to_resume ORDER BY requested_at, rowid", ())
        for row in rows:
            self.update(row["load_id"], {"to_resume": False})
        return rows

    def interrupted(self) -> dict[str, ErrorPayload]:
        """The models whose newest load was interrupted and not dismissed, with the error of that load."""
        candidates = self._store.fetch(
            "SELECT model_id FROM counts WHERE state = ?", (State.INTERRUPTED.value,)
        )
        found: dict[str, ErrorPayload] = {}
        for (model_id,) in candidates:
            keys, values = keys_of(model_id, None, limit=1)
            for row in self._read(f"WHERE rowid IN ({keys}) AND NOT is_dismissed", values):
                if row["state"] == State.INTERRUPTED and row["error"] is not None:
                    found[model_id] = row["error"]
        return found

    def dismiss(self, model_id: str) -> None:
        """Leave the loads of a model so far out of ``interrupted``; the history keeps them."""
        for row in self.loads(model_id, limit=1):
            self.update(row["load_id"], {"is_dismissed": True})

    def trim(self) -> bool:
        """Delete a few of the oldest loads beyond ``keep_loads``; returns whether it has deleted anything.

        Call it until it has not, with pauses. A load that runs, or whose model is in memory, stays.
        """
        excess = min(self.count() - self._keep_loads, _TRIMMED_AT_ONCE)
        deleted = self._store.tidy(*oldest_deleted(excess)) if excess > 0 else 0
        cleared = self._store.tidy(*old_timelines_cleared(KEPT_TIMELINES, _TRIMMED_AT_ONCE))
        if deleted + cleared > 0:
            self._store.tidy("PRAGMA incremental_vacuum(100)", ())
        return deleted + cleared > 0

    def load(self, load_id: str) -> LoadRow | None:
        """One load, or None; raises ``journal_unavailable`` where it may be in a file that cannot be used."""
        rows = self._read("WHERE load_id = ?", (load_id,))
        if not rows and not self._store.is_whole:
            raise self.troubles()[0]
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
            place, skipped = skip(self._store.fetch, model_id, outcome, skipped, is_near)
            keys = keys_of(model_id, outcome, limit, skipped, place, is_near)
        return self._read(f"WHERE rowid IN ({keys[0]}) {_NEWEST_FIRST}", keys[1])

    def past(self) -> list[LoadRow]:
        """The newest loads that have completed, the oldest of them first: what forecasts are made from."""
        keys, values = keys_of(None, Outcome.COMPLETED, PAST_LOADS)
        return self._read(f"WHERE rowid IN ({keys}) {_NEWEST_FIRST}", values)[::-1]

    def count(self, model_id: str | None = None, outcome: Outcome | None = None) -> int:
        """How many loads ``loads`` would list without a limit."""
        return int(self._store.fetch(*count_of(model_id, outcome))[0][0])

    def timeline(self, load_id: str) -> Timeline | None:
        """The timeline of a load; None where none is kept."""
        rows = self._store.fetch("SELECT timeline FROM timelines WHERE load_id = ?", (load_id,))
        if rows:
            return unpacked(rows[0][0])
        rows = self._store.fetch("SELECT timeline FROM loads WHERE load_id = ?", (load_id,))
        return unpacked(rows[0][0]) if rows and rows[0][0] is not None else None

    def statistics(self, model_id: str | None = None) -> list[ModelStatistics]:
        """The statistics of each model over its share of the newest STATISTICS_OF_NEWEST loads."""
        keys, values = keys_of(model_id, None, STATISTICS_OF_NEWEST)
        forecast = "CASE WHEN json_valid(forecast) THEN json_extract(forecast, '$.seconds') END"
        columns = f"model_id, state, seconds, bytes, {forecast}"
        select = f"SELECT {columns} FROM loads WHERE rowid IN ({keys}) {_NEWEST_FIRST}"  # noqa: S608
        return compute_statistics(Result(*row) for row in self._store.fetch(select, values))

    def close(self) -> None:
        """Write what is not written yet, where that can be done; close the file and release the folder."""
        self._store.close()

    def _place(self, load_id: str) -> Place:
        rows = self._store.fetch("SELECT requested_at, rowid FROM loads WHERE load_id = ?", (load_id,))
        if not rows:
            raise ModelhubError("unknown_load", id=load_id)
        return Place(*rows[0])

    def _read(self, clauses: str, values: tuple[object, ...]) -> list[LoadRow]:
        select = f"SELECT {', '.join(COLUMNS)} FROM loads {clauses}"  # noqa: S608
        rows = (load_row(row) for row in self._store.fetch(select, values))
        return [row for row in rows if row is not None]
