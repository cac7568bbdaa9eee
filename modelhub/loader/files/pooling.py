"""How a model makes one embedding of a text, where its folder says so in the way of sentence-transformers.

``modules.json`` lists what is done one after another. ``1_Pooling/config.json`` says how the rows of a text
become one, and ``sentence_bert_config.json`` how long a text may be.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import Any

from modelhub.errors import ModelhubError
from modelhub.loader.files.opening import MAX_CONFIG_BYTES, Files, read_json, read_small

MODULES = "modules.json"
SETTINGS = "sentence_bert_config.json"
_PATH = re.compile(r"\d{1,2}_Pooling")
POOLING = re.compile(rf"{_PATH.pattern}/config\.json")
# In the order in which several are joined; the names of the older files behind those of the newer ones.
MODES = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}


@dataclass(frozen=True, slots=True)
class Pooling:
    """``modes`` are some of ``MODES``; ``max_tokens`` is how long a text may be, None where that is not said.

    ``lacking`` says in words what modelhub cannot do of what the folder asks for, and is empty where there is
    nothing.
    """

    modes: tuple[str, ...] = ()
    normalize: bool = False
    max_tokens: int | None = None
    lower_case: bool = False
    lacking: str = ""


def read_pooling(files: Files) -> Pooling | None:
    """What the folder of a model says of its embeddings, None where that is nothing.

    Raises ``refused`` for a file that must not be opened.
    """
    try:
        modules = json.loads(read_small(files, MODULES, MAX_CONFIG_BYTES))
        names = [(str(module["type"]).rpartition(".")[2], str(module["path"])) for module in modules]
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, RecursionError):
        return Pooling(lacking=f"its {MODULES} cannot be read")
    kinds = [kind for kind, _ in names]
    for kind in kinds:
        if kind not in ("Transformer", "Pooling", "Normalize"):
            return Pooling(lacking=f"they go through a module {kind[:40]}")
    paths = [path for kind, path in names if kind == "Pooling"]
    if len(paths) != 1 or kinds[:2] != ["Transformer", "Pooling"]:
        return Pooling(lacking=f"its {MODULES} has another order")
    return _read(files, paths[0], "Normalize" in kinds)


def _read(files: Files, path: str, normalize: bool) -> Pooling:
    # A folder that is a link would lead elsewhere.
    if _PATH.fullmatch(path) is None or os.path.islink(files.folder / path):
        return Pooling(lacking=f"its {MODULES} names another folder")
    try:
        modes = _modes(read_json(files, f"{path}/config.json"))
        settings = _settings(files)
    except OSError:
        return Pooling(lacking=f"the file {path}/config.json is missing")
    except ModelhubError as error:
        if error.code == "refused":
            raise
        return Pooling(lacking=f"the file {path}/config.json cannot be read")
    if not modes:
        return Pooling(lacking=f"{path}/config.json asks for another way to pool")
    longest = settings.get("max_seq_length")
    is_length = type(longest) is int and longest > 0
    return Pooling(modes, normalize, longest if is_length else None, settings.get("do_lower_case") is True)


def _settings(files: Files) -> dict[str, Any]:
    try:
        return read_json(files, SETTINGS)
    except FileNotFoundError:
        return {}


def _modes(settings: dict[str, Any]) -> tuple[str, ...]:
    """The modes that are asked for; none where there is one that is not known."""
    named = settings.get("pooling_mode")
    if named is not None:
        wanted = named if isinstance(named, list) else [named]
        return tuple(wanted) if all(isinstance(one, str) and one in MODES for one in wanted) else ()
    asked = {name for name, value in settings.items() if name.startswith("pooling_mode_") and value is True}
    return (
        tuple(mode for mode, name in MODES.items() if name in asked) if asked <= set(MODES.values()) else ()
    )
