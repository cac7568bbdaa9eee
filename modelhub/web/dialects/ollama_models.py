"""The models of this server as Ollama's clients list them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from modelhub.core.model_card import ModelCard, read_card, read_template
from modelhub.core.pauses import Pauses
from modelhub.core.registry import Registry
from modelhub.core.scan import Entry
from modelhub.errors import ModelhubError
from modelhub.payloads import ModelResource
from modelhub.states import State
from modelhub.web.dialects.ollama_answers import moment

_PARAMETER_UNITS = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K"))
_DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
_CPU = "cpu"


def tags(registry: Registry) -> list[dict[str, Any]]:
    """The models whose files are on this machine and that can be loaded, the newest first."""
    whole = [
        entry
        for entry in registry.catalogue.entries().values()
        if entry.folder is not None and entry.cannot_load is None and entry.size_bytes is not None
    ]
    pause, found = Pauses(), []
    for entry in whole:
        found.append(_tag(entry, read_card(entry.folder)))
        pause()
    return sorted(found, key=lambda one: str(one["modified_at"]), reverse=True)


def show(registry: Registry, model_id: str) -> dict[str, Any]:
    """What the files of a model say of it; raises ``unknown_model`` for one that is not on this machine."""
    model_id = registry.catalogue.id_of(model_id)
    entry = registry.catalogue.find(model_id)
    if entry is None:
        raise ModelhubError.not_here(model_id)
    card, template = read_card(entry.folder), read_template(entry.folder)
    return {
        "modelfile": f"FROM {model_id}",
        "parameters": "",
        "template": template,
        "details": _details(entry, card),
        "model_info": _info(entry, card),
        "capabilities": _capabilities(card, template, registry.model(model_id)),
        "modified_at": moment(card.modified_at),
    }


def processes(registry: Registry) -> list[dict[str, Any]]:
    """The models that are in memory."""
    ready = (one for one in registry.listing.touched() if one["state"] == State.READY)
    return [_process(registry, model) for model in ready]


def digest_of(name: str) -> str:
    """64 hexadecimal digits that stand for a name: Ollama's clients show the first ones. No hash of files."""
    return hashlib.sha256(name.encode()).hexdigest()


def _process(registry: Registry, model: ModelResource) -> dict[str, Any]:
    snapshot, entry = model["snapshot"], registry.catalogue.find(model["id"])
    card, use = read_card(entry.folder if entry else None), snapshot["use"]
    size = (use and use["memory"]) or snapshot.get("memory") or 0
    is_on_gpu = not str(snapshot.get("device", _CPU)).startswith(_CPU)
    leaves_at = use["leaves_at"] if use else None
    return {
        "name": model["id"],
        "model": model["id"],
        "size": size,
        "digest": digest_of(model["id"]),
        "details": _details(entry, card),
        "expires_at": moment(float("inf") if leaves_at is None else leaves_at),
        "size_vram": size if is_on_gpu else 0,
        "context_length": card.context_length or 0,
    }


def _tag(entry: Entry, card: ModelCard) -> dict[str, Any]:
    return {
        "name": entry.model_id,
        "model": entry.model_id,
        "modified_at": moment(card.modified_at),
        "size": entry.size_bytes,
        "digest": digest_of(entry.model_id),
        "details": _details(entry, card),
    }


def _details(entry: Entry | None, card: ModelCard) -> dict[str, Any]:
    sizes = entry.sizes if entry else None
    return {
        "parent_model": "",
        "format": "safetensors",
        "family": card.model_type,
        "families": [card.model_type] if card.model_type else [],
        "parameter_size": _in_units(_parameters(entry)),
        "quantization_level": _DTYPES.get(sizes.dtype("auto"), "") if sizes else "",
    }


def _parameters(entry: Entry | None) -> int:
    return sum(count for _, count in entry.sizes.floats) if entry and entry.sizes else 0


def _in_units(count: int) -> str:
    """``1_100_000_000`` is ``"1.1B"``; empty where it is not known."""
    for size, unit in _PARAMETER_UNITS:
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return str(count) if count else ""


def _info(entry: Entry, card: ModelCard) -> dict[str, Any]:
    family = card.model_type or "unknown"
    found = {
        "general.architecture": card.model_type,
        "general.parameter_count": _parameters(entry) or None,
        f"{family}.context_length": card.context_length,
        f"{family}.embedding_length": card.embedding_length,
        f"{family}.block_count": card.layers,
        f"{family}.attention.head_count": card.heads,
    }
    return {name: value for name, value in found.items() if value is not None}


def _capabilities(card: ModelCard, template: str, model: ModelResource) -> list[str]:
    task = model["snapshot"].get("task") or card.task
    writes = task in ("text-generation", "image-text-to-text")
    found: Iterable[tuple[str, bool]] = (
        ("completion", writes),
        ("tools", writes and "tools" in template),
        ("vision", task == "image-text-to-text"),
        ("thinking", writes and "enable_thinking" in template),
        ("embedding", task == "feature-extraction"),
    )
    return [name for name, has in found if has]
