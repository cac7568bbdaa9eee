"""The models on this machine, by name and size: models folder, Hugging Face cache, demos."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

from huggingface_hub.constants import HF_HUB_CACHE

from modelhub.core.scan import Entry, Scanner
from modelhub.errors import ModelhubError
from modelhub.formats import CONFIG
from modelhub.model_ids import parse_model_id, plain_model_id

_MAX_AGE_S = 2.0
_DEMO_TYPE = "llama"
_MODEL_TYPE = re.compile(r"[a-z0-9_-]{1,64}")
_CONFIG_LIMIT_BYTES = 1_000_000
# A cache may hold a part of what the hub has, but these formats are no model of transformers in any case.
_NEVER_A_MODEL = ("adapter", "diffusers")


class Catalogue:
    """Scans the folders on demand, at most every two seconds."""

    def __init__(self, models_dir: Path, cache_dir: Path | None = None, demo_dir: Path | None = None) -> None:
        self.models_dir = models_dir
        self.cache_dir = cache_dir or Path(HF_HUB_CACHE)
        self._demo_dir = demo_dir
        self._scanner = Scanner()
        self._entries: dict[str, Entry] = {}
        self._scanned_at = float("-inf")

    def entries(self) -> dict[str, Entry]:
        """Every model found, by id; the models folder has precedence over the cache, as when loading."""
        now = time.monotonic()
        if now - self._scanned_at > _MAX_AGE_S:
            found = [*self._scanner.demos(self._demo_dir), *self._scanner.cache(self.cache_dir)]
            self._entries = {entry.model_id: entry for entry in found}
            for entry in self._scanner.models_folder(self.models_dir):
                known = self._entries.get(entry.model_id)
                # A folder without config.json does not hide a model that can be loaded without it.
                if known is None or known.size_bytes is None or (entry.path / CONFIG).is_file():
                    self._entries[entry.model_id] = entry
            self._scanned_at = now
        return self._entries

    def refresh(self) -> None:
        """Have the next call scan the folders again."""
        self._scanned_at = float("-inf")

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

    def check_loadable(self, model_id: str) -> None:
        """Raise what keeps the model from being loaded, where that is certain before the load begins."""
        entry = self.entries().get(model_id)
        if entry is None or entry.cannot_load is None:
            return
        if entry.source == "folder" or entry.cannot_load["code"] in _NEVER_A_MODEL:
            raise ModelhubError.from_dict(entry.cannot_load)

    def model_types(self) -> list[str]:
        """The types of the models on this machine, as their configurations name them."""
        folders = [entry.folder for entry in self.entries().values() if entry.folder is not None]
        return sorted({_DEMO_TYPE, *filter(None, map(_model_type, folders))})


def _model_type(folder: Path) -> str | None:
    try:
        with (folder / CONFIG).open("rb") as file:
            name = json.loads(file.read(_CONFIG_LIMIT_BYTES)).get("model_type")
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    return name if isinstance(name, str) and _MODEL_TYPE.fullmatch(name) else None
