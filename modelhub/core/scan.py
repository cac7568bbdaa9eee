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
from modelhub.core.pauses import Pauses
from modelhub.demos import DEMOS
from modelhub.errors import ModelhubError
from modelhub.loader.files.headers import Tensor
from modelhub.loader.files.sizes import Sizes, configured_dtype, count, read_tensors, weights_among
from modelhub.model_ids import parse_model_id
from modelhub.payloads import ErrorPayload

PARTIAL_SUFFIX = ".incomplete"
CACHE_PREFIX = "models--"
_WHOLE = (formats.CONFIG, formats.ADAPTER, formats.PIPELINE)  # a folder with one of them has no other models
_LOOSE = (".gguf", ".safetensors")
_HEADER_BYTES = 2 * 10**6  # a longer header takes too long to parse in a scan
_BLOCK_BYTES = 512  # the unit of st_blocks


class Entry(NamedTuple):
    """A model with files on this machine, or a demo that can be made; sizes are in bytes.

    ``size_bytes`` is that of its weights, None where not all of them are here; ``sizes`` says what they take
    in memory, where their headers could be read. ``disk_bytes`` is what all of its files take, in the cache
    those of all revisions, ``partial_bytes`` what unfinished downloads take of that. ``folder`` has the files
    that a load reads; ``path`` is what is removed to delete the model.
    """

    model_id: str
    source: str  # folder, cache or demo
    size_bytes: int | None
    path: Path
    folder: Path | None = None
    disk_bytes: int = 0
    partial_bytes: int | None = None
    cannot_load: ErrorPayload | None = None
    sizes: Sizes | None = None

    def need_bytes(self, dtype: str) -> int | None:
        """The memory that a load in ``dtype`` takes, as it will be admitted; None where it is not known."""
        if self.sizes is not None and self.size_bytes is not None:
            return self.sizes.need_bytes(dtype)
        return self.size_bytes if dtype == "auto" else None


Files = dict[str, os.stat_result]  # regular files by name
_Signature = tuple[tuple[str, int, int], ...]


class Folders(NamedTuple):
    """Where models are: the user's own, those of the Hugging Face cache, the demos that were made."""

    own: Path
    cache: Path
    demos: Path


class Scanner:
    """Scans folders, and looks closer only at those that have changed since the last scan.

    Other threads run in the middle of a scan.
    """

    def __init__(self) -> None:
        self._known: dict[Path, tuple[object, Entry]] = {}

    def scan(self, folders: Folders) -> Iterator[Entry]:
        """Every model: the demos, those of the cache, those of the user's own folder."""
        pause = Pauses()
        for demo_id in DEMOS:
            yield self._demo(demo_id, folders.demos, pause)
        for repo in folders_in(folders.cache, pause):
            yield from self._repo(repo, pause)
        yield from self._models_folder(folders.own, pause)

    def look(self, model_id: str, folders: Folders) -> Iterator[Entry]:
        """The models of one id, without a scan of all: in the order of ``scan``."""
        if _bad_name(model_id) is not None:
            return
        pause = Pauses()
        if model_id in DEMOS:
            yield self._demo(model_id, folders.demos, pause)
        yield from self._repo(folders.cache / f"{CACHE_PREFIX}{model_id.replace('/', '--')}", pause)
        path = folders.own / model_id
        yield from self._own(model_id, path, _files(path, pause), pause)

    def _demo(self, demo_id: str, top: Path, pause: Pauses) -> Entry:
        """A demo, whether it was made or not."""
        path = top / demo_id
        sizes = Sizes((("BF16", DEMOS[demo_id].parameters),), 0)
        entry = Entry(demo_id, "demo", DEMOS[demo_id].size_bytes, path, sizes=sizes)
        files = _files(path, pause)
        if formats.CONFIG not in files:
            return entry
        return self._kept(path, _signature(files), partial(_with_disk, entry._replace(folder=path), pause))

    def _models_folder(self, top: Path, pause: Pauses) -> Iterator[Entry]:
        """The models of the user's own folder: one or two levels deep, or a loose file of weights."""
        for name, status in _files(top, pause).items():
            if name.endswith(_LOOSE):
                yield _loose(top / name, status)
        for first in folders_in(top, pause):
            names = _files(first, pause)
            yield from self._own(first.name, first, names, pause)
            if not any(name in names for name in _WHOLE):
                for second in folders_in(first, pause):
                    files = _files(second, pause)
                    yield from self._own(f"{first.name}/{second.name}", second, files, pause)

    def _repo(self, repo: Path, pause: Pauses) -> Iterator[Entry]:
        """A model of the Hugging Face cache, also one that was fetched only in part."""
        model_id = repo.name.removeprefix(CACHE_PREFIX).replace("--", "/")
        if not repo.name.startswith(CACHE_PREFIX) or _bad_name(model_id) is not None:
            return
        snapshot = _snapshot(repo, pause)
        names, blobs = _files(snapshot, pause), _files(repo / "blobs", pause)
        signature = (snapshot, _signature(names), _signature(blobs))
        look = partial(_cached, model_id, repo, snapshot, names, blobs, pause)
        entry = self._kept(repo, signature, look)
        if entry.disk_bytes:
            yield entry

    def _own(self, name: str, path: Path, files: Files, pause: Pauses) -> Iterator[Entry]:
        """A model of the user's own folder; nothing where the files are not those of a model."""

        def look() -> Entry:
            model_id = units.printable(name)
            error = _bad_name(model_id) or obstacles.find(model_id, path, files, pause)
            entry = Entry(model_id, "folder", _weights(files), path, path, sizes=_sizes(path, files, pause))
            return _with_disk(entry._replace(cannot_load=error.to_dict() if error else None), pause)

        if formats.looks_like_model(files):
            yield self._kept(path, _signature(files), look)

    def _kept(self, path: Path, signature: object, look: Callable[[], Entry]) -> Entry:
        known = self._known.get(path)
        if known is None or known[0] != signature:
            self._known[path] = known = (signature, look())
        return known[1]


def _cached(model_id: str, repo: Path, snapshot: Path, names: Files, blobs: Files, pause: Pauses) -> Entry:
    partly = sum(_disk_use(status) for name, status in blobs.items() if name.endswith(PARTIAL_SUFFIX))
    error = formats.cannot_load(model_id, names, may_be_partial=True)
    if error is not None and error.code == "adapter":
        error = obstacles.find(model_id, snapshot, names, pause)  # names the base model
    shared = _shared_bytes(repo / "blobs", blobs, pause)
    size = None if partly and formats.WEIGHTS not in names else _weights(names)
    entry = Entry(model_id, "cache", size, repo, snapshot, _tree_bytes(repo, pause) + shared, partly or None)
    if size is not None and error is None:
        entry = entry._replace(sizes=_sizes(snapshot, names, pause))
    return entry._replace(cannot_load=error.to_dict() if error else None)


def _shared_bytes(folder: Path, blobs: Files, pause: Pauses) -> int:
    """What blobs take that are links into the store that several repositories share."""
    total = 0
    for name, status in blobs.items():
        total += _disk_use(status) if (folder / name).is_symlink() else 0
        pause()
    return total


def _loose(path: Path, status: os.stat_result) -> Entry:
    """A file of weights without a folder."""
    name = units.printable(path.name)
    code = "gguf" if name.endswith(".gguf") else "no_config"
    size = _disk_use(status)
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


def _snapshot(repo: Path, pause: Pauses) -> Path:
    """The files of the main revision, or of another where main was not fetched."""
    try:
        commit = (repo / "refs" / "main").read_text().strip()
        return repo / "snapshots" / commit
    except (OSError, UnicodeDecodeError):
        return next(iter(folders_in(repo / "snapshots", pause)), repo / "snapshots" / "none")


def _weights(files: Files) -> int | None:
    sizes = [status.st_size for name, status in files.items() if name.endswith(".safetensors")]
    return sum(sizes) if sizes else None


def _sizes(folder: Path, files: Files, pause: Pauses) -> Sizes | None:
    """What the weights take in memory, by their headers; None where one cannot be read."""
    if formats.CONFIG not in files:  # or it is a pipe, which must not be read
        return None
    found: list[Tensor] = []
    try:
        for name in weights_among(files):
            pause()
            tensors = read_tensors(folder / name, _HEADER_BYTES)
            if tensors is None:
                return None
            found += tensors
    except OSError:
        return None
    settings = obstacles.read_json(folder / formats.CONFIG, obstacles.SMALL_BYTES, pause)
    return count(found, configured_dtype(settings)) if found else None


def _with_disk(entry: Entry, pause: Pauses) -> Entry:
    return entry._replace(disk_bytes=_tree_bytes(entry.path, pause))


def _tree_bytes(top: Path, pause: Pauses) -> int:
    """What the files below a folder take on the disk; links in it are not followed."""
    total = 0
    for folder, _, names in os.walk(top):
        pause()
        for name in names:
            try:
                total += _disk_use(os.lstat(os.path.join(folder, name)))
            except OSError:
                continue  # removed meanwhile
            finally:
                pause()
    return total


def _disk_use(status: os.stat_result) -> int:
    """A sparse file takes less than its size, and a link nothing to speak of."""
    return min(status.st_size, status.st_blocks * _BLOCK_BYTES) if stat.S_ISREG(status.st_mode) else 0


def _files(folder: Path, pause: Pauses) -> Files:
    """The regular files of a folder, through links, by name; empty for a folder that is not there."""
    found: Files = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                pause()
                try:
                    status = entry.stat()
                except OSError:
                    continue  # a link to nothing
                if stat.S_ISREG(status.st_mode):
                    found[entry.name] = status
    except OSError:
        return {}
    return found


def _signature(files: Files) -> _Signature:
    return tuple(sorted((name, status.st_size, status.st_mtime_ns) for name, status in files.items()))


def folders_in(top: Path, pause: Pauses) -> list[Path]:
    """The folders in a folder, sorted; none where it cannot be read."""
    names: list[str] = []
    try:
        with os.scandir(top) as entries:
            for entry in entries:
                try:
                    if entry.is_dir() and not entry.name.startswith("."):
                        names.append(entry.name)
                except OSError:
                    continue  # a link that leads nowhere
                pause()
    except OSError:
        return []
    return [top / name for name in sorted(names)]
