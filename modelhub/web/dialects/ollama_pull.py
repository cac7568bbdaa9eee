"""A pull of Ollama's: the load that fetches a model's files, in the words that its clients expect."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from modelhub.core.registry import Registry
from modelhub.errors import ModelhubError
from modelhub.payloads import Snapshot
from modelhub.states import ACTIVE, State
from modelhub.web.dialects.ollama_models import digest_of

_FETCH_STEP = 3
_LOOK_S = 0.25
_SUCCESS = {"status": "success"}


def pull(
    registry: Registry, model_id: str, by: str, has_left: Callable[[], bool]
) -> Iterator[dict[str, Any]]:
    """Fetch a model by loading it, unless its files are here; ends with ``success`` or raises ModelhubError.

    Several that pull a model share its load, which goes on when they leave. A model whose files are here but
    do not fit into memory was pulled all the same.
    """
    yield {"status": "pulling manifest"}
    if not _is_here(registry, model_id):
        registry.lifecycle.start(model_id, by=by)
        said: dict[str, Any] = {}
        while (snapshot := registry.snapshot(model_id))["state"] in ACTIVE:
            if has_left():
                return
            if (news := _news(snapshot, digest_of(model_id))) != said:
                yield (said := news)
            time.sleep(_LOOK_S)
        _check(registry, model_id, snapshot)
    yield _SUCCESS


def _check(registry: Registry, model_id: str, snapshot: Snapshot) -> None:
    """Raise how the load ended, unless the files are here."""
    if snapshot["state"] == State.READY:
        return
    error = snapshot["error"]
    if error is None:
        raise ModelhubError("interrupted", id=model_id)
    registry.catalogue.refresh()
    if error["code"] != "no_memory" or not _is_here(registry, model_id):
        raise ModelhubError.from_dict(error)


def _is_here(registry: Registry, model_id: str) -> bool:
    """Whether this machine has all files of a model; of one with a revision a load alone can tell."""
    entry = registry.catalogue.find(model_id)
    if entry is None or entry.folder is None or "@" in model_id:
        return False
    return entry.size_bytes is not None and not entry.partial_bytes and entry.cannot_load is None


def _news(snapshot: Snapshot, digest: str) -> dict[str, Any]:
    step = snapshot["step"] or 0
    if step > _FETCH_STEP:
        return {"status": "loading into memory"}
    if step < _FETCH_STEP or snapshot["unit"] != "bytes" or not snapshot["size"]:
        return {"status": "pulling manifest"}
    name = f"sha256:{digest}"
    counts = {"digest": name, "total": snapshot["size"], "completed": snapshot["done"] or 0}
    return {"status": f"pulling {digest[:12]}", **counts}
