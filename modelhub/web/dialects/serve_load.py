"""How a load goes, as ``transformers serve`` tells it: its stages in order, then ready or an error, once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from modelhub.core.registry import Registry
from modelhub.errors import ModelhubError
from modelhub.loader.files.sizes import read_tensors, weights_among
from modelhub.payloads import Snapshot
from modelhub.states import ACTIVE, State
from modelhub.units import printable
from modelhub.web.dialects.event_stream import event
from modelhub.web.dialects.models import model_of

_PROCESSOR, _CONFIG, _DOWNLOAD, _WEIGHTS = "processor", "config", "download", "weights"
_CONFIG_STEP, _DOWNLOAD_STEP, _READ_STEP = 2, 3, 5
_QUIET_S = 4.0  # until a comment says that the load is still waited for
_HEADER_BYTES = 8 * 10**6


def load_lines(registry: Registry, name: str) -> Iterator[str]:
    """Load a model, or join its load: the lines of the response, which end with ``ready`` or ``error``."""
    frame = {"status": "loading", "model": printable(name)}
    try:
        model_id = model_of(registry, name)
        frame["model"] = model_id if "@" in model_id else f"{model_id}@main"
        if registry.snapshot(model_id)["state"] == State.READY:
            yield event({**frame, "status": "ready", "cached": True})
            return
        load, _ = registry.lifecycle.start(model_id, by="rest")
        stages = Stages(lambda: _count_tensors(registry, model_id))
        for snapshot in _follow(registry, model_id):
            if snapshot is None:
                yield ": waiting\n\n"
                continue
            for one in stages.frames(snapshot):
                yield event({**frame, **one, "load_id": load["load_id"]})
        _check(registry.snapshot(model_id))
        yield event({**frame, "status": "ready", "cached": False})
    except ModelhubError as error:
        yield event({**frame, "status": "error", "message": f"{error.message} {error.hint}".strip()})


def _follow(registry: Registry, model_id: str) -> Iterator[Snapshot | None]:
    """Every state of the model until its load has ended; None after some seconds without a new one."""
    log = registry.adapter.log_of(model_id)
    snapshot = log.snapshot
    yield snapshot
    while snapshot["state"] in ACTIVE:
        news = log.after(snapshot["seq"], _QUIET_S)
        for one in news:
            snapshot = one.payload
            yield snapshot
        if not news:
            yield None


def _check(snapshot: Snapshot) -> None:
    """Raise how the load has ended, unless the model is ready."""
    if snapshot["state"] == State.READY:
        return
    if snapshot["error"] is not None:
        raise ModelhubError.from_dict(snapshot["error"])
    why, todo = "Its load has ended early.", "Load it again."
    raise ModelhubError("wrong_state", id=snapshot["id"], state=snapshot["state"], why=why, todo=todo)


class Stages:
    """Makes the frames of a load of its states. ``count_tensors()`` is asked once its files are here."""

    def __init__(self, count_tensors: Callable[[], int | None]) -> None:
        self._count_tensors = count_tensors
        self._said: list[str] = []
        self._fetched = 0
        self._tensors = 0  # that were said
        self._total: int | None = None

    def frames(self, snapshot: Snapshot) -> Iterator[dict[str, Any]]:
        """What is new: each stage once without numbers or as often as its numbers change, in order."""
        more = _more(snapshot)
        for one in self._frames(snapshot):
            yield {**one, **more}

    def _frames(self, snapshot: Snapshot) -> Iterator[dict[str, Any]]:
        is_ready = snapshot["state"] == State.READY
        if snapshot["state"] not in ACTIVE and not is_ready:
            return
        step = 9 if is_ready else snapshot["step"] or 0
        yield from self._begin(_PROCESSOR)
        if step >= _CONFIG_STEP:
            yield from self._begin(_CONFIG)
        fetched = (snapshot["done"] or 0) if step == _DOWNLOAD_STEP and snapshot["unit"] == "bytes" else 0
        if fetched > self._fetched:
            self._fetched = fetched
            yield _progress(_DOWNLOAD, fetched, snapshot["size"])
        if step >= _READ_STEP:
            yield from self._weights(1.0 if step > _READ_STEP else _share(snapshot))

    def _begin(self, stage: str) -> Iterator[dict[str, Any]]:
        if stage not in self._said:
            self._said.append(stage)
            yield {"stage": stage}

    def _weights(self, share: float) -> Iterator[dict[str, Any]]:
        """The tensors that are in memory, by the share of all bytes; from the first to all of them."""
        if _WEIGHTS not in self._said:
            self._said.append(_WEIGHTS)
            self._total = self._count_tensors()
            yield {"stage": _WEIGHTS} if self._total is None else _progress(_WEIGHTS, 1, self._total)
            self._tensors = 1
        if self._total is not None and (tensors := int(share * self._total)) > self._tensors:
            self._tensors = tensors
            yield _progress(_WEIGHTS, tensors, self._total)


def _progress(stage: str, current: int, total: int | None) -> dict[str, Any]:
    return {"stage": stage, "progress": {"current": current, "total": total}}


def _share(snapshot: Snapshot) -> float:
    """How much of step 5 is done, whatever it counts."""
    return (snapshot["done"] or 0) / snapshot["size"] if snapshot["size"] else 0.0


def _more(snapshot: Snapshot) -> dict[str, Any]:
    """What transformers serve does not say: bytes of this step, the share of the time, seconds left."""
    is_bytes = snapshot["unit"] == "bytes"
    return {
        "step": snapshot["step"],
        "bytes": {"current": snapshot["done"], "total": snapshot["size"]} if is_bytes else None,
        "share": snapshot["progress"],
        "seconds_left": snapshot["eta"],
    }


def _count_tensors(registry: Registry, model_id: str) -> int | None:
    """How many tensors the weights of a model on this machine have; None where that cannot be seen."""
    entry = registry.catalogue.find(model_id)
    if entry is None or entry.folder is None:
        return None
    return count_tensors(entry.folder)


def count_tensors(folder: Path) -> int | None:
    """How many tensors the weight files of a folder have; None where a header cannot be read."""
    try:
        names = weights_among(one.name for one in folder.iterdir())
        headers = [read_tensors(folder / name, _HEADER_BYTES) for name in names]
    except OSError:
        return None
    counts = [len(one) for one in headers if one is not None]
    return sum(counts) if counts and len(counts) == len(headers) else None
