"""Scans the folders of models: what is in each, what it takes on the disk, and why it cannot be loaded."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from modelhub import formats, units
from modelhub.core import obstacles
from modelhub.demos import DEMOS
from modelhub.errors import ModelhubError
from modelhub.model_ids import parse_model_id
from modelhub.payloads import ErrorPayload

PARTIAL_SUFFIX = ".incomplete"
CACHE_PREFIX = "models--"
_WHOLE = (formats.CONFIG, formats.ADAPTER, formats.PIPELINE)  # a folder with one of them has no other models
_LOOSE = (".gguf", ".safetensors")
_BLOCK_BYTES = 512  # the unit of st_blocks


class Entry(NamedTuple):
    """A model with files on this machine, or a demo that can be made; sizes are in bytes.

    ``size_bytes`` is that of its weights, None where not all of them are here. ``disk_bytes`` is what all of
    its files take, in the cache those of all revisions, ``partial_bytes`` what unfinished downloads take of
    that. ``folder`` has the files that a load reads; ``path`` is what is removed to delete the model.
    """

    model_id: str
    source: str  # folder, cache or demo
    size_bytes: int | None
    path: Path
    folder: Path | None = None
    disk_bytes: int = 0
    partial_bytes: int | None = None
    cannot_load: ErrorPayload | None = None


_Signature = tuple[tuple[str, int, int], ...]


class Scanner:
    """Scans folders, and looks closer only at those that have changed since the last scan."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[object, Entry]] = {}

    def demos(self, demo_dir: Path | None) -> Iterator[Entry]:
        """Every demo, whether it was made or not."""
        for demo in DEMOS.values():
            path = (demo_dir or Path(os.devnull)) / demo.model_id
            entry = Entry(demo.model_id, "demo", demo.size_bytes, path)
            files = _files(path)
            if formats.CONFIG in files:
                made = entry._replace(folder=path)
                entry = self._kept(path, _signature(files), partial(_with_disk, made))
            yield entry

    def models_folder(self, top: Path) -> Iterator[Entry]:
        """The models of the user's own folder: one or two levels deep, or a loose file of weights."""
        for name in _files(top):
            if name.endswith(_LOOSE):
                yield _loose(top / name)
        for first in folders_in(top):
            names = _files(first)
            if formats.looks_like_model(names):
                yield self._own(first.name, first, names)
            if not any(name in names for name in _WHOLE):
                for second in folders_in(first):
                    names = _files(second)
                    if formats.looks_like_model(names):
                        yield self._own(f"{first.name}/{second.name}", second, names)

    def cache(self, top: Path) -> Iterator[Entry]:
        """The models of the Hugging Face cache, with those that were fetched only in part."""
        for repo in folders_in(top):
            model_id = repo.name.removeprefix(CACHE_PREFIX).replace("--", "/")
            if not repo.name.startswith(CACHE_PREFIX) or _bad_name(model_id) is not None:
                continue
            snapshot = _snapshot(repo)
            names, blobs = _files(snapshot), _files(repo / "blobs")
            signature = (snapshot, _signature(names), _signature(blobs))
            entry = self._kept(repo, signature, partial(_cached, model_id, repo, snapshot, names, blobs))
            if entry.disk_bytes:
                yield entry

    def _own(self, name: str, path: Path, files: dict[str, os.stat_result]) -> Entry:
        def look() -> Entry:
            model_id = units.printable(name)
            error = _bad_name(model_id) or obstacles.find(model_id, path, files)
            entry = Entry(model_id, "folder", _weights(files), path, path)
            return _with_disk(entry._replace(cannot_load=error.to_dict() if error else None))

        return self._kept(path, _signature(files), look)

    def _kept(self, path: Path, signature: object, look: Callable[[], Entry]) -> Entry:
        known = self._known.get(path)
        if known is None or known[0] != signature:
            self._known[path] = known = (signature, look())
        return known[1]


def _cached(
    model_id: str,
    repo: Path,
    snapshot: Path,
    names: dict[str, os.stat_result],
    blobs: dict[str, os.stat_result],
) -> Entry:
    partly = sum(_disk_use(status) for name, status in blobs.items() if name.endswith(PARTIAL_SUFFIX))
    error = formats.cannot_load(model_id, names, may_be_partial=True)
    if error is not None and error.code == "adapter":
        error = obstacles.find(model_id, snapshot, names)  # names the base model
    # Blobs may be links into the store that several repositories share.
    shared = sum(_disk_use(status) for name, status in blobs.items() if (repo / "blobs" / name).is_symlink())
    size = None if partly and formats.WEIGHTS not in names else _weights(names)
    entry = Entry(model_id, "cache", size, repo, snapshot, _tree_bytes(repo) + shared, partly or None)
    return entry._replace(cannot_load=error.to_dict() if error else None)


def _loose(path: Path) -> Entry:
    """A file of weights without a folder."""
    name = units.printable(path.name)
    code = "gguf" if name.endswith(".gguf") else "no_config"
    size = _disk_use(path.stat())
    return Entry(name, "folder", None, path, None, size, None, ModelhubError(code, id=name).to_dict())


def _bad_name(name: str) -> ModelhubError | None:
    """The error for a name that no model id may have."""
    try:
        parse_model_id(name)
    except ModelhubError:
        parts = [re.sub(r"[^A-Za-z0-9._]+", "-", part) for part in name.split("/")]
        example = "/".join(re.sub(r"\.{2,}", ".", part).strip("-._")[:96] or "model" for part in parts)
        return ModelhubError("bad_name", id=name, example=example)
    return None


def _snapshot(repo: Path) -> Path:
    """The files of the main revision, or of another where main was not fetched."""
    try:
        commit = (repo / "refs" / "main").read_text().strip()
        return repo / "snapshots" / commit
    except (OSError, UnicodeDecodeError):
        return next(iter(folders_in(repo / "snapshots")), repo / "snapshots" / "none")


def _weights(files: dict[str, os.stat_result]) -> int | None:
    sizes = [status.st_size for name, status in files.items() if name.endswith(".safetensors")]
    return sum(sizes) if sizes else None


def _with_disk(entry: Entry) -> Entry:
    return entry._replace(disk_bytes=_tree_bytes(entry.path))


def _tree_bytes(top: Path) -> int:
    """What the files below a folder take on the disk; links in it are not followed."""
    total = 0
    for folder, _, names in os.walk(top):
        for name in names:
            try:
                total += _disk_use(os.lstat(os.path.join(folder, name)))
            except OSError:
                continue  # removed meanwhile
    return total


def _disk_use(status: os.stat_result) -> int:
    """A sparse file takes less than its size, and a link nothing to speak of."""
    return min(status.st_size, status.st_blocks * _BLOCK_BYTES) if stat.S_ISREG(status.st_mode) else 0


def _files(folder: Path) -> dict[str, os.stat_result]:
    """The regular files of a folder, through links, by name; empty for a folder that is not there."""
    found: dict[str, os.stat_result] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    status = entry.stat()
                except OSError:
                    continue  # a link to nothing
                if stat.S_ISREG(status.st_mode):
                    found[entry.name] = status
    except OSError:
        return {}
    return found


def _signature(files: dict[str, os.stat_result]) -> _Signature:
    return tuple(sorted((name, status.st_size, status.st_mtime_ns) for name, status in files.items()))


def folders_in(top: Path) -> list[Path]:
    """The folders in a folder, sorted; none where it cannot be read."""
    try:
        return sorted(path for path in top.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []
