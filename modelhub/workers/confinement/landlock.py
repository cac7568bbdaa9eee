"""Landlock: which files this thread, and those that it starts, may read and write. Linux 5.13 and later.

Source: landlock(7) and the kernel's landlock.h. Descriptors that are open stay usable, and so does what the
other threads have opened.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

from modelhub.workers.confinement.seccomp import forbid_new_rights

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # on every processor
_VERSION_FLAG = 1
_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_TRUNCATE = 1 << 14
# By the version of Landlock: all rights over files that there are, but those of ioctl, which a GPU needs.
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1}
_TCP_RIGHTS, _TCP_SINCE = 3, 4
_SCOPES, _SCOPES_SINCE = 3, 6  # abstract Unix sockets and signals of other processes


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("tcp", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("descriptor", ctypes.c_int32))


def version() -> int:
    """The version of Landlock that this system has; 0 for none."""
    if sys.platform != "linux":
        return 0
    return max(0, int(ctypes.CDLL(None).syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)))


def restrict(readable: Iterable[Path | str], writable: Iterable[Path | str]) -> None:
    """Let this thread open nothing but what is ``readable``, and the files that are ``writable``.

    Both are files, or folders with all that is below them; what does not exist is left out. Raises OSError
    where the system cannot do that.
    """
    supported = version()
    rights = _FILE_RIGHTS[min(max(supported, 1), max(_FILE_RIGHTS))]
    attributes = _Ruleset(rights, 0, 0)
    size = 8
    if supported >= _TCP_SINCE:
        attributes.tcp, size = _TCP_RIGHTS, 16
    if supported >= _SCOPES_SINCE:
        attributes.scopes, size = _SCOPES, 24
    libc = ctypes.CDLL(None, use_errno=True)
    ruleset = _call(libc, _CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(size), 0)
    try:
        for path in readable:
            _allow(libc, ruleset, path, (_READ_FILE | _READ_DIR) & rights)
        for path in writable:
            _allow(libc, ruleset, path, (_READ_FILE | _WRITE_FILE | _TRUNCATE) & rights)
        forbid_new_rights(libc)
        _call(libc, _RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path | str, rights: int) -> None:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
                rights &= ~_READ_DIR
            rule = _Beneath(rights, descriptor)
            _call(libc, _ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
        finally:
            os.close(descriptor)


def _call(libc: ctypes.CDLL, number: int, *arguments: object) -> int:
    result = int(libc.syscall(number, *arguments))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result
