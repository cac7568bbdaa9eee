"""The models on this machine, by name and size: models folder, Hugging Face cache, demos."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from huggingface_hub.constants import HF_HUB_CACHE

from modelhub.demos import DEMOS
from modelhub.errors import ModelhubError
from modelhub.model_ids import parse_model_id, plain_model_id

_MAX_AGE_S = 2.0
_DEMO_TYPE = "llama"
_MODEL_TYPE = re.compile(r"[a-z0-9_-]{1,64}")
_CONFIG_LIMIT_BYTES = 1_000_000


class Entry(NamedTuple):
    """A model that can be loaded without fetching it; ``size_bytes`` is that of its weight files."""

    model_id: str
    source: str  # folder, cache or demo
    size_bytes: int | None
    folder: Path | None = None


class Catalogue:
    """Scans the folders on demand, at most every two seconds."""

    def __init__(self, models_dir: Path, cache_dir: Path | None = None) -> None:
        self._models_dir = models_dir
        self._cache_dir = cache_dir or Path(HF_HUB_CACHE)
        self._entries: dict[str, Entry] = {}
        self._scanned_at = float("-inf")

    def entries(self) -> dict[str, Entry]:
        """Every model found, by id; the models folder has precedence over the cache, as when loading."""
        now = time.monotonic()
        if now - self._scanned_at > _MAX_AGE_S:
            demos = (Entry(demo.model_id, "demo", demo.size_bytes) for demo in DEMOS.values())
            found = [*demos, *_in_cache(self._cache_dir), *_in_folder(self._models_dir)]
            self._entries = {entry.model_id: entry for entry in found}
            self._scanned_at = now
        return self._entries

    def id_of(self, text: str) -> str:
        """The id of what a person or a client names: an id, a link to the hub, or a name in the list.

        The names of folders that no id may have are in the list too. Raises ``invalid_id``.
        """
        try:
            return plain_model_id(text)
        except ModelhubError:
            if (name := text.strip()) in self.entries():
                return name
            raise

    def find(self, model_id: str) -> Entry | None:
        """The model, if it is on this machine. One with a revision is looked up by its repo."""
        return self.entries().get(model_id) or self.entries().get(parse_model_id(model_id).repo)

    def model_types(self) -> list[str]:
        """The types of the models on this machine, as their configurations name them."""
        folders = [entry.folder for entry in self.entries().values() if entry.folder is not None]
        return sorted({_DEMO_TYPE, *filter(None, map(_model_type, folders))})


def _model_type(folder: Path) -> str | None:
    try:
        with (folder / "config.json").open("rb") as file:
            name = json.loads(file.read(_CONFIG_LIMIT_BYTES)).get("model_type")
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    return name if isinstance(name, str) and _MODEL_TYPE.fullmatch(name) else None


def _in_folder(top: Path) -> Iterator[Entry]:
    for first in _folders(top):
        if (first / "config.json").is_file():
            yield from _entry(first.name, "folder", first)
            continue
        for second in _folders(first):
            if (second / "config.json").is_file():
                yield from _entry(f"{first.name}/{second.name}", "folder", second)


def _in_cache(top: Path) -> Iterator[Entry]:
    for repo in _folders(top):
        if not repo.name.startswith("models--"):
            continue
        commit = _main_commit(repo)
        snapshots = [repo / "snapshots" / commit] if commit else _folders(repo / "snapshots")[:1]
        for snapshot in snapshots:
            if (snapshot / "config.json").is_file():
                yield from _entry(repo.name.removeprefix("models--").replace("--", "/"), "cache", snapshot)


def _main_commit(repo: Path) -> str | None:
    try:
        return (repo / "refs" / "main").read_text().strip()
    except OSError:
        return None


def _entry(model_id: str, source: str, folder: Path) -> Iterator[Entry]:
    try:
        parse_model_id(model_id)
    except ModelhubError:
        return  # a folder whose name is no id could not be requested
    sizes = [_size(path) for path in folder.glob("*.safetensors")]
    yield Entry(model_id, source, sum(sizes) if sizes else None, folder)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _folders(top: Path) -> list[Path]:
    try:
        return sorted(path for path in top.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []
