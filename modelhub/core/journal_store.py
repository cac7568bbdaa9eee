"""Where the journal keeps loads: in its file, and the newest in memory too, for when the file fails."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

from modelhub.core.data_folder import DataFolder
from modelhub.core.journal_file import JournalFile, Look, set_aside
from modelhub.core.journal_queries import count_of, oldest_deleted
from modelhub.core.journal_rows import ADD_UNKNOWN_LOAD, PUT_LOAD, PUT_TIMELINE, STORED_COLUMNS
from modelhub.core.journal_schema import migrate
from modelhub.core.journal_trouble import DamagedJournal, Why, is_damaged, is_passing, why_of
from modelhub.errors import ModelhubError

log = logging.getLogger(__name__)
IN_MEMORY = 500  # loads, some 2 MB
_AT_ONCE = 50  # a few milliseconds
_FAILURES = (OSError, sqlite3.Error, ModelhubError, DamagedJournal)
_LOADS = f"SELECT {', '.join(STORED_COLUMNS)} FROM loads"  # noqa: S608


class JournalStore:
    """Every write goes to the file and to a copy of its newest loads in memory; reads are from the file.

    Once the file fails, the copy alone is read and written, until ``mend`` has written to the file what it
    lacks. Reads and writes are short and from any thread, ``mend`` is for one thread, and takes longer. None
    of them raises; the constructor raises ModelhubError ``already_running`` or ``newer_journal``, and OSError
    where the folder is missing and cannot be made. ``on_folder`` is called when the folder was lost, or could
    not be used, and is this server's again.
    """

    def __init__(self, data_dir: Path, on_folder: Callable[[], None] = lambda: None) -> None:
        self._path = data_dir / "history.sqlite3"
        self._folder = DataFolder(data_dir)
        self._on_folder = on_folder
        self._lock = threading.Lock()
        self._mending = threading.Lock()
        self._file: JournalFile | None = None  # others than ``mend`` use it only while ``_why`` is None
        self._why: Why | None = None
        self._next = Look.SAME  # what the last failure says of the file
        self._unwritten: dict[str, None] = {}  # the loads of which the copy knows more than the file
        self._lost = 0  # of these, how many are no longer in the copy either
        self._is_copied = self._is_closed = False
        self._is_other = False  # the file may have loads of an earlier run, which nobody has looked at
        self._aside: str | None = None
        self.failed = threading.Event()  # set when there is something to mend
        self._memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._memory.row_factory = sqlite3.Row
        migrate(self._memory)
        try:
            self._folder.hold()
            self._file = self._open()
        except ModelhubError:
            self.close()
            raise
        except _FAILURES as error:
            if not data_dir.is_dir():
                raise
            self._fail(error)

    def fetch(self, statement: str, values: tuple[object, ...]) -> list[sqlite3.Row]:
        """The rows that a query finds."""
        with self._lock:
            if self._why is None and self._file is not None:
                try:
                    return self._file.database.execute(statement, values).fetchall()
                except sqlite3.Error as error:
                    self._fail(error)
            return self._memory.execute(statement, values).fetchall()

    def write(self, load_id: str, statement: str, values: Iterable[object]) -> None:
        """Change what is kept of one load."""
        values = tuple(values)
        with self._lock:
            try:
                self._memory.execute(statement, values)
            except sqlite3.Error as error:
                log.warning("The journal of loads could not be written: %s", error)
            if self._change(statement, values) is None:
                self._unwritten[load_id] = None

    def tidy(self, statement: str, values: tuple[object, ...]) -> int:
        """Run a statement on the file alone; returns how many rows it has changed."""
        with self._lock:
            return self._change(statement, values) or 0

    def _change(self, statement: str, values: tuple[object, ...]) -> int | None:
        """How many rows of the file a statement has changed; None where it failed, or the file does."""
        if self._why is not None or self._file is None:
            return None
        try:
            cursor = self._file.database.execute(statement, values)
            cursor.fetchall()
            return max(0, cursor.rowcount)
        except sqlite3.Error as error:
            self._fail(error)
            return None

    @property
    def is_whole(self) -> bool:
        """Whether the file is in use, so that all loads can be read."""
        return self._why is None

    def troubles(self) -> list[ModelhubError]:
        """What a person should know of: ``journal_unavailable``, ``journal_set_aside``."""
        found = []
        if self._why is not None:
            found.append(
                ModelhubError(
                    "journal_unavailable", why=self._why.words, todo=self._why.todo, kept=self._kept()
                )
            )
        if self._aside is not None:
            found.append(ModelhubError("journal_set_aside", name=self._aside))
        return found

    def _kept(self) -> str:
        count = len(self._unwritten)
        waiting = "what is new is" if not count else "one is" if count == 1 else f"{count} are"
        lost = f", but the {self._lost} oldest of them are lost" if self._lost else ""
        return f"{waiting} kept in memory until then{lost}"

    def mend(self) -> bool:
        """Look after folder and file, and mend what can be mended; call it every second or so.

        Returns whether a file was opened that may have loads of an earlier run.
        """
        with self._mending:
            if self._is_closed:
                return False
            self.failed.clear()
            self._forget_oldest()
            try:
                if self._folder.hold():
                    self._on_folder()
                self._look_after_file()
                self._catch_up()
                self._copy_newest()
            except _FAILURES as error:
                with self._lock:
                    self._fail(error)
                self.failed.clear()  # not at once again
                return False
            if self._aside is not None and not self._path.with_name(self._aside).exists():
                self._aside = None  # somebody has seen to it
            is_other, self._is_other = self._is_other, False
            return is_other

    def _look_after_file(self) -> None:
        """Have an open file that is whole."""
        look = Look.REPLACED if self._file is None else self._file.look()
        if look is Look.SAME:
            look = self._next
        if look is Look.SAME:
            return
        with self._lock:
            if self._why is None:
                self._fail(OSError(0, f"its file {look.value}"))
        if look is Look.MISSING and self._next is not Look.DAMAGED and self._file is not None:
            self._file.put_back()
        if look is Look.DAMAGED:
            self._set_aside()
        if look is Look.LOG_CHANGED and self._file is not None:
            self._file.abandon()
        if look is Look.REPLACED and self._file is not None:
            self._file.drop_log()
        self._close_file()
        self._next = Look.SAME
        with self._lock:
            for row in self._memory.execute("SELECT load_id FROM loads ORDER BY requested_at, rowid"):
                self._unwritten[row["load_id"]] = None
        self._file = self._open()
        self._is_other = self._is_other or look is Look.REPLACED

    def _open(self) -> JournalFile:
        """Open the file; one that is damaged is set aside, and a new one begun."""
        try:
            return JournalFile(self._path)
        except DamagedJournal as error:
            log.warning("The journal of loads is damaged: %s", error)
            self._set_aside()
            return JournalFile(self._path)

    def _set_aside(self) -> None:
        if not os.path.lexists(self._path):
            return
        self._aside = set_aside(self._path)
        log.warning("The damaged journal of loads is now %s, and a new one was begun", self._aside)

    def _close_file(self) -> None:
        if self._file is not None:
            try:
                self._file.close()
            except sqlite3.Error as error:
                log.warning("Closing the journal of loads failed: %s", error)
            self._file = None

    def _fail(self, error: Exception) -> None:
        """Go on without the file, which cannot be used."""
        found = why_of(error)
        if found != self._why and not self._is_closed:
            detail = "" if found.words in str(error) else f" ({error})"
            log.warning("The journal of loads cannot be used: %s%s", found.words, detail)
        if self._why is None:
            self.failed.set()
        self._why = found
        if isinstance(error, sqlite3.Error) and not is_passing(error):
            self._next = Look.DAMAGED if is_damaged(error) else Look.LOG_CHANGED

    def _catch_up(self) -> None:
        """Write to the file what it lacks, and use it again."""
        if self._why is None or self._file is None:
            return
        database, written = self._file.database, 0
        while True:
            with self._lock:
                load_ids = list(islice(self._unwritten, _AT_ONCE))
                if not load_ids:
                    self._why, self._lost = None, 0
                    log.info("The journal of loads is written again, %d loads late", written)
                    return
                self._put(database, load_ids)
                for load_id in load_ids:
                    del self._unwritten[load_id]
            written += len(load_ids)
            time.sleep(0)

    def _put(self, database: sqlite3.Connection, load_ids: list[str]) -> None:
        """Write loads as they are in the copy, all or none of them."""
        where = f"WHERE load_id IN ({', '.join('?' * len(load_ids))})"
        loads = self._memory.execute(f"{_LOADS} {where} ORDER BY requested_at, rowid", load_ids).fetchall()
        timelines = self._memory.execute(f"SELECT * FROM timelines {where}", load_ids).fetchall()  # noqa: S608
        database.execute("BEGIN IMMEDIATE")
        try:
            database.executemany(PUT_LOAD, map(tuple, loads))
            database.executemany(PUT_TIMELINE, map(tuple, timelines))
            database.execute("COMMIT")
        except sqlite3.Error:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise

    def _copy_newest(self) -> None:
        """Have the newest loads of earlier runs in memory too."""
        if self._is_copied or self._file is None:
            return
        for offset in range(0, IN_MEMORY, _AT_ONCE):
            with self._lock:
                page = f"{_LOADS} ORDER BY requested_at DESC, rowid DESC LIMIT ? OFFSET ?"
                rows = self._file.database.execute(page, (_AT_ONCE, offset)).fetchall()
                self._memory.executemany(ADD_UNKNOWN_LOAD, map(tuple, reversed(rows)))
            if len(rows) < _AT_ONCE:
                break
            time.sleep(0)
        self._is_copied = True

    def _forget_oldest(self) -> None:
        """Keep the copy small."""
        with self._lock:
            excess = self._memory.execute(*count_of(None, None)).fetchone()[0] - IN_MEMORY
            if excess <= 0:
                return
            delete, values = oldest_deleted(excess)
            gone = self._memory.execute(delete.replace("DELETE", "SELECT load_id", 1), values).fetchall()
            self._memory.execute(delete, values)
            for (load_id,) in gone:
                self._lost += load_id in self._unwritten
                self._unwritten.pop(load_id, None)

    def close(self) -> None:
        """Write what is not written yet, where that can be done; close the file and release the folder."""
        with self._mending:
            if self._why is not None and self._unwritten and self._file is not None:
                try:
                    self._catch_up()
                except sqlite3.Error as error:
                    log.warning(
                        "%d loads could not be written to the journal: %s", len(self._unwritten), error
                    )
            self._is_closed = True
            with self._lock:
                self._close_file()
                self._memory.close()
            self._folder.release()
