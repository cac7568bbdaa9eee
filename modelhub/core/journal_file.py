"""The file of the journal in SQLite (WAL): open for this server alone, and looked after."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from enum import Enum
from pathlib import Path

from modelhub.core.journal_schema import migrate
from modelhub.core.journal_trouble import DamagedJournal, is_damaged, is_passing

_CHECKPOINT_PAGES = 200  # written at once into the file: a few milliseconds
_COPY_PAGES = 200
_CHECKED_BYTES = 16_000_000  # a whole file is checked in some 5 ms a MB: a larger one is not
_MAGIC = b"SQLite format 3\0"
_LOG_MAGIC = b"\x37\x7f\x06"
_LOG_HEADER_BYTES, _FRAME_HEADER_BYTES = 32, 24
_CHECKED_FRAMES = 1000  # a few times as many as there are before a checkpoint
_SIDE_FILES = ("-wal", "-shm", "-journal")


class Look(Enum):
    """What has become of the file since it was opened."""

    SAME = "is the same"
    MISSING = "was deleted"  # or moved: the connection still has all of it
    REPLACED = "was replaced"
    DAMAGED = "is damaged"  # overwritten or truncated
    LOG_CHANGED = "has lost its log"  # the write-ahead log was deleted, replaced or truncated


class JournalFile:
    """The open file. No other process can open it meanwhile, and it has no shared memory (``-shm``), whose
    truncation would end this process.

    Raises DamagedJournal, ModelhubError ``newer_journal``, OSError and sqlite3.Error. Nothing else in this
    process may open the file: to close it would release SQLite's locks.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._log_path = path, path.with_name(f"{path.name}-wal")
        if path.exists() and not path.is_file():
            raise DamagedJournal("It is not a file.")
        # Without a time-out: to wait for a lock would block the whole server.
        self.database = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        self._descriptor: int | None = None
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise
        self._size = self._log_size = self._log_changed_at = 0
        self._log_number: int | None = None
        self.look()

    def _prepare(self) -> None:
        database = self.database
        database.row_factory = sqlite3.Row
        database.text_factory = lambda text: text.decode(errors="replace")
        try:
            database.execute("PRAGMA locking_mode=EXCLUSIVE")
            database.execute("PRAGMA auto_vacuum=INCREMENTAL")  # has no effect on a file that exists
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=NORMAL")
            database.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
            migrate(database)
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # what a damaged log has had goes
            (self._page_size,) = database.execute("PRAGMA page_size").fetchone()
        except sqlite3.DatabaseError as error:
            if is_damaged(error):
                raise DamagedJournal(str(error)) from error
            raise
        self._path.with_name(f"{self._path.name}-shm").unlink(missing_ok=True)  # of an earlier version
        self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        if not self._is_whole():
            raise DamagedJournal("A part of it is missing, or contradicts another one.")

    def look(self) -> Look:
        """Find out what has become of it, by its size and name; may check a small file that has shrunk."""
        assert self._descriptor is not None  # noqa: S101 - it is open
        own = os.fstat(self._descriptor)
        found = _stat(self._path)
        if found is None:
            return Look.MISSING
        if not os.path.samestat(own, found):
            return Look.REPLACED
        has_shrunk, self._size = own.st_size < self._size, own.st_size
        if os.pread(self._descriptor, len(_MAGIC), 0) != _MAGIC or (has_shrunk and not self._is_whole()):
            return Look.DAMAGED
        return Look.SAME if self._has_log() else Look.LOG_CHANGED

    def _has_log(self) -> bool:
        """Whether the write-ahead log is the one that SQLite has open, and has no hole."""
        log = _stat(self._log_path)
        number, size = (None, 0) if log is None else (log.st_ino, log.st_size)
        if self._log_number is None:
            self._log_number = number
        has_shrunk, self._log_size = size < self._log_size, size
        if log is None or number != self._log_number or has_shrunk:
            return number == self._log_number and not has_shrunk
        if log.st_mtime_ns != self._log_changed_at:
            self._log_changed_at = log.st_mtime_ns
            return _is_log_whole(self._log_path, size, self._page_size)
        return True

    def _is_whole(self) -> bool:
        """Whether a small file has all that a journal needs; of a large one only its size is checked."""
        assert self._descriptor is not None  # noqa: S101 - it is open
        size = os.fstat(self._descriptor).st_size
        try:
            if size > _CHECKED_BYTES:
                (pages,) = self.database.execute("PRAGMA page_count").fetchone()
                return bool(size >= (pages - _CHECKPOINT_PAGES) * self._page_size)
            self.database.execute("PRAGMA shrink_memory")  # what is cached may be no longer in the file
            (verdict, *_) = self.database.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            if not is_passing(error):
                return False
            raise
        return bool(verdict == "ok")

    def put_back(self) -> None:
        """Write a copy of a file that was deleted to its path, a few pages at a time, and close it."""
        copy = self._path.with_name(f"{self._path.name}.new")
        copy.unlink(missing_ok=True)
        database = sqlite3.connect(copy, isolation_level=None, check_same_thread=False)
        try:
            database.execute("PRAGMA synchronous=OFF")
            self.database.backup(database, pages=_COPY_PAGES, progress=lambda *_: time.sleep(0))
        finally:
            database.close()
        for side in _SIDE_FILES:
            self._path.with_name(self._path.name + side).unlink(missing_ok=True)
        self.close()
        os.rename(copy, self._path)

    def abandon(self) -> None:
        """Close it without writing the log into the file, since the log is damaged."""
        hidden = self._path.with_name(f"{self._path.name}.closing")
        os.rename(self._path, hidden)  # SQLite leaves the log of a file that has moved alone
        try:
            self.close()
        finally:
            os.rename(hidden, self._path)

    def drop_log(self) -> None:
        """Delete its log, where another file is in its place: SQLite would apply the log to that one."""
        log = _stat(self._log_path)
        if log is not None and log.st_ino == self._log_number:
            self._log_path.unlink()

    def close(self) -> None:
        """Close it; what is in the write-ahead log is written into the file."""
        self.database.close()
        if self._descriptor is not None:  # only now: it would release the locks
            os.close(self._descriptor)
            self._descriptor = None


def set_aside(path: Path) -> str:
    """Rename what is at ``path``, with the side files of a journal; returns the new name, which is dated.

    Raises OSError.
    """
    dated = f"{path.name}.corrupt-{time.strftime('%Y-%m-%dT%H%M%S')}"
    name, number = dated, 1
    while os.path.lexists(path.with_name(name)):
        number += 1
        name = f"{dated}-{number}"
    os.rename(path, path.with_name(name))
    for side in _SIDE_FILES:
        if os.path.lexists(path.with_name(path.name + side)):
            os.rename(path.with_name(path.name + side), path.with_name(name + side))
    return name


def _is_log_whole(path: Path, size: int, page_size: int) -> bool:
    """Whether a write-ahead log begins as one, and no frame of it is a hole: a frame names its page first."""
    with path.open("rb", buffering=0) as file:
        begins = size < _LOG_HEADER_BYTES or file.read(3) == _LOG_MAGIC
        frame_bytes = _FRAME_HEADER_BYTES + page_size
        frames = min((size - _LOG_HEADER_BYTES) // frame_bytes, _CHECKED_FRAMES)
        offsets = (_LOG_HEADER_BYTES + number * frame_bytes for number in range(frames))
        return begins and all(any(os.pread(file.fileno(), 4, offset)) for offset in offsets)


def _stat(path: Path) -> os.stat_result | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found if stat.S_ISREG(found.st_mode) else None
