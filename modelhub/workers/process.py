"""The worker: loads one model in a process of its own, tells each checkpoint, then serves predictions."""

from __future__ import annotations

import json
import logging
import os
import queue
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from modelhub import loader, memory
from modelhub.checkpoints import LoadSpec
from modelhub.errors import ModelhubError
from modelhub.inference.pipelines import Predictor
from modelhub.workers.channel import Channel
from modelhub.workers.lifeline import name_process, prefer_as_oom_victim

log = logging.getLogger(__name__)


def main(sock: socket.socket) -> None:
    """Serve one channel: ``load``, then ``predict`` requests; or one ``plan``. Its end ends the process."""
    name_process("modelhub-worker")
    prefer_as_oom_victim()
    loader.prepare_process()
    channel = Channel(sock)
    requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(channel, requests), daemon=True).start()
    first = requests.get()
    spec = LoadSpec(**first["spec"])
    if first["op"] == "plan":
        _plan(channel, spec)
        return
    loaded = _load(channel, requests, spec)
    if loaded is not None:
        predictor = Predictor(loaded)
        while True:
            _predict(channel, predictor, requests.get())


def _read(channel: Channel, requests: queue.SimpleQueue[dict[str, Any]]) -> None:
    """Take requests off the channel, also while the main thread loads; the channel's end is the process's."""
    while True:
        try:
            message = channel.receive()
        except (EOFError, OSError, ValueError):
            os._exit(0)
        if message is not None:
            requests.put(message)


def _load(
    channel: Channel, requests: queue.SimpleQueue[dict[str, Any]], spec: LoadSpec
) -> loader.LoadedModel | None:
    def admit(need_bytes: int) -> None:
        channel.send({"type": "need", "bytes": need_bytes})
        refusal = requests.get()["error"]
        if refusal is not None:
            raise ModelhubError.from_dict(refusal)

    before = memory.resident().mapped
    checkpoints = loader.load(spec, admit)
    try:
        while True:
            try:
                checkpoint = next(checkpoints)
            except StopIteration as end:
                model: loader.LoadedModel = end.value
                break
            channel.send({"type": "checkpoint", "checkpoint": checkpoint})
    except Exception as error:
        failure = loader.explain(error, spec)
        if failure.code in ("load_failed", "internal"):
            log.exception("Loading %s failed", spec.model_id)
        channel.send({"type": "failed", "error": failure.to_dict()})
        return None
    mapped = max(0, memory.resident().mapped - before)
    channel.send({"type": "loaded", "facts": model.facts, "mapped": mapped})
    return model


def _plan(channel: Channel, spec: LoadSpec) -> None:
    try:
        channel.send({"type": "plan", "plan": loader.plan(spec)})
    except Exception as error:
        channel.send({"type": "failed", "error": loader.explain(error, spec).to_dict()})


def _predict(channel: Channel, predictor: Predictor, request: dict[str, Any]) -> None:
    def answer() -> tuple[bool, bytes]:
        started = time.monotonic()
        outputs = predictor.predict(request["inputs"], request["parameters"])
        seconds = round(time.monotonic() - started, 6)
        result = {"model": request["model"], "task": predictor.task, "outputs": outputs, "seconds": seconds}
        return True, json.dumps(result, separators=(",", ":")).encode()

    ok, body = _explained(answer)
    channel.send({"type": "result", "request": request["request"], "ok": ok, "length": len(body)}, body)


def _explained(answer: Callable[[], tuple[bool, bytes]]) -> tuple[bool, bytes]:
    try:
        return answer()
    except ModelhubError as error:
        failure = error
    except Exception as error:
        log.exception("A prediction failed")
        failure = ModelhubError("prediction_failed", why=type(error).__name__)
    return False, json.dumps(failure.to_dict()).encode()
