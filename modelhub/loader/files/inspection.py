"""Checks a model's folder before transformers opens anything in it, and reads sizes from the headers."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelhub import formats
from modelhub.errors import ModelhubError
from modelhub.formats import CONFIG as CONFIG
from modelhub.formats import INDEX as INDEX
from modelhub.formats import WEIGHTS as WEIGHTS
from modelhub.loader.files.headers import Tensor

SETTINGS = frozenset((
    CONFIG, "generation_config.json", "preprocessor_config.json", "processor_config.json",
    "special_tokens_map.json", "tokenizer_config.json", "video_preprocessor_config.json",
))  # fmt: skip
TEMPLATES = "additional_chat_templates"
MAX_CONFIG_BYTES = 10**6
MAX_TOKENIZER_BYTES = 64 * 10**6
MAX_INDEX_BYTES = 16 * 10**6
MAX_JSON_DEPTH = 64
MAX_ENTRIES = 10_000


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a model on this machine.

    ``roots`` is empty for a plain folder: nothing in it may be a symbolic link. In the Hugging Face cache
    the files are links, which must end inside one of ``roots``. ``is_own``: the user put them there, and
    a load never fetches any of them.
    """

    model_id: str
    folder: Path
    roots: tuple[Path, ...] = ()
    is_own: bool = False

    def refuse(self, name: str, why: str) -> ModelhubError:
        """The error to raise for a file that must not be opened."""
        return ModelhubError("refused", id=self.model_id, file=name, why=why)

    def corrupt(self, name: str, why: str) -> ModelhubError:
        """The error to raise for a file that is damaged."""
        code = "corrupt_own" if self.is_own else "corrupt"
        return ModelhubError(code, id=self.model_id, file=name, why=why)

    def missing_shard(self, name: str) -> ModelhubError:
        """The error to raise for a weight file that the index names and that is not there."""
        todo = "Copy the file into the model's folder." if self.is_own else "Load it again: it is fetched."
        return ModelhubError("missing_shard", id=self.model_id, file=name, todo=todo)

    def gone(self, names: Iterable[str]) -> ModelhubError | None:
        """The error to raise where one of the files, which were there before, is there no more."""
        lost = next((name for name in sorted(names) if not (self.folder / name).exists()), None)
        return None if lost is None else ModelhubError("files_gone", id=self.model_id, file=lost)

    def pointer(self, name: str) -> ModelhubError:
        """The error to raise for a file that Git LFS has not fetched."""
        return ModelhubError("lfs_pointer", id=self.model_id, file=name)


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One safetensors file, inspected: its real path, its size in bytes, and its tensors."""

    name: str
    path: Path
    size: int
    tensors: tuple[Tensor, ...]

    def placed(self) -> Iterator[tuple[Tensor, int, int]]:
        """Each tensor with the range of its bytes in the file: begin, and end exclusive."""
        position = self.size - sum(tensor.size for tensor in self.tensors)
        for tensor in self.tensors:
            yield tensor, position, position + tensor.size
            position += tensor.size


def real_path(files: Files, name: str) -> Path:
    """The path of ``name`` with links resolved; raises ``refused`` if it is outside the model's folders."""
    path = files.folder / name
    if not files.roots:
        return path
    real = Path(os.path.realpath(path))
    if not any(real.is_relative_to(root) for root in files.roots):
        raise files.refuse(name, "it is a link that leads out of the model's folder")
    return real


@contextmanager
def opened(files: Files, name: str) -> Iterator[tuple[int, int]]:
    """Open the regular file ``name``: (descriptor, size in bytes).

    Raises ``refused`` for a symbolic link, pipe, device or folder, and FileNotFoundError.
    """
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(real_path(files, name), flags)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EMLINK):
            raise files.refuse(name, "it is not a regular file") from None
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise files.refuse(name, "it is not a regular file")
        yield descriptor, status.st_size
    finally:
        os.close(descriptor)


@contextmanager
def still_there(files: Files) -> Iterator[None]:
    """Whatever fails inside: raise ``files_gone`` if the model's files are there no more."""
    try:
        yield
    except ModelhubError:
        raise
    except Exception as error:
        if (gone := files.gone((CONFIG,))) is not None:
            raise gone from error
        raise


def read_small(files: Files, name: str, limit: int) -> bytes:
    """The content of a file; raises ``refused`` if it exceeds ``limit`` bytes, and FileNotFoundError."""
    with opened(files, name) as (descriptor, size):
        if size > limit:
            raise files.refuse(name, f"it has {size} bytes, more than {limit}")
        with os.fdopen(os.dup(descriptor), "rb") as file:
            return file.read(limit + 1)[: limit + 1]


def read_json(files: Files, name: str, limit: int = MAX_CONFIG_BYTES) -> dict[str, Any]:
    """A JSON object of at most ``limit`` bytes and 64 levels.

    Raises ``refused``, ``corrupt`` or ``lfs_pointer``.
    """
    text = read_small(files, name, limit)
    try:
        value = json.loads(text)
    except RecursionError:
        raise files.refuse(name, "it is nested too deeply") from None
    except ValueError:
        if formats.is_pointer(text):
            raise files.pointer(name) from None
        raise files.corrupt(name, "it is not valid JSON") from None
    if _depth_exceeds(value, MAX_JSON_DEPTH):
        raise files.refuse(name, f"it is nested more than {MAX_JSON_DEPTH} levels deep")
    if not isinstance(value, dict):
        raise files.corrupt(name, "it is not a JSON object")
    return value


def _depth_exceeds(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit + 1):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def check_folder(files: Files) -> frozenset[str]:
    """Check every file that transformers might open by its name; returns their names.

    Raises ``no_config`` or what the other files say without a config.json, ``lfs_pointer``, and ``refused``
    for an entry that is neither a regular file nor a folder, for a file that exceeds its size limit, and for
    a setting that names a file elsewhere.
    """
    names = _entries(files, ".")
    if CONFIG not in names:
        raise formats.cannot_load(files.model_id, names) or ModelhubError("no_config", id=files.model_id)
    if (files.folder / TEMPLATES).exists():
        _entries(files, TEMPLATES)
    for name in sorted(names & SETTINGS):
        _check_named_files(files, name, read_json(files, name))
    return names


def _entries(files: Files, below: str) -> frozenset[str]:
    names: set[str] = set()
    with os.scandir(files.folder / below) as entries:
        for count, entry in enumerate(entries):
            name = entry.name if below == "." else f"{below}/{entry.name}"
            if count >= MAX_ENTRIES:
                raise files.refuse(name, f"its folder has more than {MAX_ENTRIES} entries")
            if entry.name.startswith(".") or entry.is_dir(follow_symlinks=False):
                continue
            try:
                with opened(files, name) as (descriptor, size):
                    _check_file(files, name, descriptor, size)
            except FileNotFoundError:
                continue  # a link of the cache whose target was deleted
            names.add(name)
    return frozenset(names)


def _check_file(files: Files, name: str, descriptor: int, size: int) -> None:
    limit = _size_limit(name.rpartition("/")[2])
    if size > limit:
        raise files.refuse(name, f"it has {size} bytes, more than {limit}")
    # Of weights only those that the load reads are looked at, later.
    if limit < float("inf") and is_pointer(descriptor, size):
        raise files.pointer(name)


def is_pointer(descriptor: int, size: int) -> bool:
    """Whether an open file of that size is a pointer of Git LFS."""
    return size <= formats.MAX_POINTER_BYTES and formats.is_pointer(os.pread(descriptor, size, 0))


def _size_limit(name: str) -> float:
    if name in SETTINGS:
        return MAX_CONFIG_BYTES
    if name.endswith(".index.json"):
        return MAX_INDEX_BYTES
    if name.endswith((".json", ".txt", ".model", ".jinja")):
        return MAX_TOKENIZER_BYTES
    return float("inf")


def _check_named_files(files: Files, name: str, settings: dict[str, Any]) -> None:
    """tokenizer_config.json can name its vocabulary file: raise ``refused`` if that is outside the folder."""
    inside = os.path.realpath(files.folder)
    for key, value in settings.items():
        named = value if isinstance(value, list) else [value]
        if not key.endswith(("_file", "_files", "_spm")):
            continue
        for path in (item for item in named if isinstance(item, str)):
            real = os.path.realpath(path)
            leaves = not real.startswith(inside + os.sep) and os.path.lexists(path)
            if leaves or ".." in Path(path).parts:
                raise files.refuse(name, f"its {key} names a file outside the model's folder")
