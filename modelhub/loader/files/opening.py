"""Opens a model's files within limits: regular files only, of which no link leads out of the folder."""

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

MAX_CONFIG_BYTES = 10**6
MAX_TOKENS_BYTES = 16 * 10**6  # each added token takes about 150: Gemma 3 has 6,400, others 65,536
MAX_TOKENIZER_BYTES = 64 * 10**6
MAX_INDEX_BYTES = 16 * 10**6
MAX_JSON_DEPTH = 64


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


def is_pointer(descriptor: int, size: int) -> bool:
    """Whether an open file of that size is a pointer of Git LFS."""
    return size <= formats.MAX_POINTER_BYTES and formats.is_pointer(os.pread(descriptor, size, 0))
