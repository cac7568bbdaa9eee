"""How a load goes, as ``transformers serve`` tells it: its stages in order, then ready or an error, once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import accumulate
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
        stages = Stages(lambda: _tensor_ends(registry, model_id))
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
    """Makes the frames of a load of its states. ``find_ends()`` is asked once its files are here."""

    def __init__(self, find_ends: Callable[[], list[int] | None]) -> None:
        self._find_ends = find_ends
        self._said: list[str] = []
        self._fetched = 0
        self._tensors = 0  # that were said
        self._ends: list[int] = []  # bytes up to the end of each tensor; none where that is not known

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
        """The tensors whose bytes are read, in the order of the files; from the first to all of them."""
        if _WEIGHTS not in self._said:
            self._said.append(_WEIGHTS)
            self._ends = self._find_ends() or []
            yield _progress(_WEIGHTS, 1, len(self._ends)) if self._ends else {"stage": _WEIGHTS}
            self._tensors = 1
        if self._ends and (tensors := bisect_right(self._ends, share * self._ends[-1])) > self._tensors:
            self._tensors = tensors
            yield _progress(_WEIGHTS, tensors, len(self._ends))


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


def _tensor_ends(registry: Registry, model_id: str) -> list[int] | None:
    """As ``tensor_ends``, of a model on this machine."""
    entry = registry.catalogue.find(model_id)
    if entry is None or entry.folder is None:
        return None
    return tensor_ends(entry.folder)


def tensor_ends(folder: Path) -> list[int] | None:
    """How many bytes of the weight files of a folder there are up to the end of each tensor, in their order.

    None where a header cannot be read.
    """
    try:
        names = weights_among(one.name for one in folder.iterdir())
        headers = [read_tensors(folder / name, _HEADER_BYTES) for name in names]
    except OSError:
        return None
    known = [one for one in headers if one is not None]
    if len(known) < len(headers):
        return None
    return list(accumulate(tensor.size for tensors in known for tensor in tensors)) or None
