"""Python runs this at its start where this folder is on PYTHONPATH: a folder lies on a slow disk.

Each call of the system that looks at something below ``SLOW_FOLDER`` takes ``SLOW_CALL_S`` longer, and blocks
the thread that made it for that time, as a disk does.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

_folder = os.environ.get("SLOW_FOLDER", "")
_call_s = float(os.environ.get("SLOW_CALL_S", "0"))
_sleep = time.sleep  # the real one, whatever is patched later


def _wait(path: Any) -> None:
    if isinstance(path, str | os.PathLike) and os.fspath(path).startswith(_folder):
        _sleep(_call_s)


def _slow(real: Callable[..., Any]) -> Callable[..., Any]:
    def slow(path: Any = ".", *args: Any, **keywords: Any) -> Any:
        _wait(path)
        return real(path, *args, **keywords)

    return slow


class _Entry:
    """An entry of a folder, whose status is not known yet."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.name, self.path = real.name, real.path

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Its status."""
        _sleep(_call_s)
        result: os.stat_result = self._real.stat(follow_symlinks=follow_symlinks)
        return result


class _Entries:
    """The entries of a folder, as ``os.scandir`` returns them."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __enter__(self) -> _Entries:
        return self

    def __exit__(self, *_: object) -> None:
        self._real.close()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return _Entry(next(self._real))

    def close(self) -> None:
        """Close the folder."""
        self._real.close()


def _slow_scandir(path: Any = ".") -> Any:
    _wait(path)
    found = _real_scandir(path)
    is_slow = isinstance(path, str | os.PathLike) and os.fspath(path).startswith(_folder)
    return _Entries(found) if is_slow else found


if _folder:
    _real_scandir = os.scandir
    for _name in ("stat", "lstat", "open", "listdir", "readlink"):
        setattr(os, _name, _slow(getattr(os, _name)))
    os.scandir = _slow_scandir  # type: ignore[assignment]
    io.open = _slow(io.open)  # type: ignore[assignment]
