"""Why the file of the journal cannot be used, in words, and what follows from that."""

from __future__ import annotations

import errno
import sqlite3
from typing import NamedTuple

from modelhub.errors import ModelhubError


class DamagedJournal(Exception):
    """What is at the journal's path is not a journal, or not a whole one."""


class Why(NamedTuple):
    """The cause, and what a person can do about it."""

    words: str
    todo: str


_FULL = Why("the disk is full", "Free some space.")
_READ_ONLY = Why("its folder cannot be written to", "Let the server write to its data folder.")
_LOCKED = Why("another program has locked it", "Close that program.")
_DAMAGED = Why("it is damaged", "A new one is begun in a moment.")
_OF_SQLITE = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_IOERR: Why("reading or writing it failed", "Check the disk of the data folder."),
    sqlite3.SQLITE_CANTOPEN: Why("it cannot be opened", "Check the data folder."),
}
_OF_SYSTEM = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: _READ_ONLY,
    errno.EACCES: _READ_ONLY,
    errno.EPERM: _READ_ONLY,
}
_OF_ITS_FOLDER = {
    "already_running": Why("another modelhub server uses its folder now", "Stop one of the two."),
    "newer_journal": Why("a newer modelhub has written it", "Update modelhub."),
}
_PASSING = (_FULL, _READ_ONLY, _LOCKED)


def why_of(error: Exception) -> Why:
    """What an error says of the journal."""
    if isinstance(error, DamagedJournal):
        return _DAMAGED
    if isinstance(error, ModelhubError):
        return _OF_ITS_FOLDER.get(error.code, Why(error.message, error.hint))
    if isinstance(error, OSError):
        found = _OF_SYSTEM.get(error.errno or 0)
        return found or Why(error.strerror or str(error), "Check the data folder.")
    code = int(getattr(error, "sqlite_errorcode", 0)) & 0xFF  # errors of the module itself have none
    return _OF_SQLITE.get(code, Why(str(error), "See the server's log for details."))


def is_damaged(error: Exception) -> bool:
    """Whether an error says that the file is damaged."""
    return why_of(error) == _DAMAGED


def is_passing(error: Exception) -> bool:
    """Whether the open file can be used again as it is, once what caused the error is over."""
    return why_of(error) in _PASSING
