"""Deletes the files of a model: they are moved out of sight at once, and removed by another process.

Removing takes about a quarter of a second for each gigabyte (measured on ext4), during which the event loop
of this process would stand still.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from modelhub import units
from modelhub.core.pauses import Pauses
from modelhub.core.scan import CACHE_PREFIX, PARTIAL_SUFFIX, Entry, folders_in
from modelhub.errors import ModelhubError
from modelhub.payloads import DeletedFiles
from modelhub.workers.machine import Machine

log = logging.getLogger(__name__)
_PREFIX = ".deleting-"
_PREFIXES = (_PREFIX, CACHE_PREFIX + _PREFIX)
# huggingface_hub's own deletion also drops the files that several repositories share once none needs them.
_DELETE_REPO = """
import sys
from pathlib import Path
from huggingface_hub import DeleteCacheStrategy
repo, none = Path(sys.argv[1]), frozenset()
DeleteCacheStrategy(0, none, none, frozenset([repo]), none, cache_dir=repo.parent).execute()
"""


def delete(entry: Entry, root: Path, unused: Callable[[], AbstractContextManager[None]]) -> int:
    """Delete the files of ``entry``, which are below ``root``; return how many bytes that freed.

    ``unused()`` is a context in which no load of the model can start; it raises where one runs. Of a link,
    only the link is removed. Raises ``no_files``, ``cannot_delete``, and as ``unused``.
    """
    path = entry.path
    if not os.path.lexists(path):
        raise ModelhubError("no_files", id=entry.model_id)
    inside = os.path.realpath(path.parent) + os.sep
    if not inside.startswith(os.path.realpath(root) + os.sep):
        raise _refused(entry, "it lies behind a link that leads to another folder.")
    moved = path.with_name((CACHE_PREFIX if entry.source == "cache" else "") + _PREFIX + secrets.token_hex(4))
    freed = 0 if path.is_symlink() else entry.disk_bytes
    with unused():
        if entry.source == "cache" and _is_being_fetched(path):
            raise _refused(entry, "another process is fetching it.")
        try:
            path.rename(moved)
        except OSError as error:
            raise _refused(entry, f"{error.strerror}.") from error
    _remove(moved)
    if os.path.lexists(moved):
        raise _refused(entry, "some of its files cannot be removed.")
    log.info("The files of %s were deleted: %s in the %s.", entry.model_id, units.size(freed), entry.source)
    return freed


def delete_everywhere(
    machines: Sequence[Machine],
    model_id: str,
    own: bool,
    unused: Callable[[str], AbstractContextManager[None]],
) -> DeletedFiles:
    """Delete the files of a model on every machine that has them, see ``Machine.delete_files``.

    Raises what has kept one of them from it, once all others have done it; ``no_files`` where none has any,
    and before any is deleted ``own_folder``.
    """
    found = (machine.find(model_id) for machine in machines)
    if not own and any(one and one.source == "folder" and one.model_id == model_id for one in found):
        raise ModelhubError("own_folder", id=model_id)
    deleted: list[DeletedFiles] = []
    failure: ModelhubError | None = None
    for machine in machines:
        try:
            deleted.append(machine.delete_files(model_id, own, unused))
        except ModelhubError as error:
            failure = failure if error.code == "no_files" else error
    if failure is not None:
        raise failure
    if not deleted:
        raise ModelhubError("no_files", id=model_id)
    return {**deleted[0], "freed_bytes": sum(one["freed_bytes"] for one in deleted)}


def sweep(*roots: Path) -> None:
    """Remove what a deletion left that did not come to its end."""
    for leftover in _leftovers(roots):
        _remove(leftover)


def _leftovers(roots: tuple[Path, ...]) -> Iterator[Path]:
    pause = Pauses()
    for root in roots:
        for folder in (root, *folders_in(root, pause)):
            pause()
            with contextlib.suppress(OSError):  # it cannot be read, or is no longer there
                yield from [folder / name for name in os.listdir(folder) if name.startswith(_PREFIXES)]


def _remove(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
        return
    is_repo = path.name.startswith(CACHE_PREFIX)
    command = [sys.executable, "-c", _DELETE_REPO] if is_repo else ["rm", "-rf", "--"]
    subprocess.run([*command, str(path)], stdin=subprocess.DEVNULL, capture_output=True, check=False)


def _is_being_fetched(repo: Path) -> bool:
    """Whether a process holds the lock of a file that it fetches (loader/files/transfer.py)."""
    for partial in repo.glob(f"blobs/*{PARTIAL_SUFFIX}"):
        try:
            with partial.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            continue
    return False


def _refused(entry: Entry, why: str) -> ModelhubError:
    return ModelhubError("cannot_delete", id=entry.model_id, why=why)
