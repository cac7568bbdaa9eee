"""The worker process: loads one model, sends its checkpoints, then serves predictions."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Callable

from modelhub import memory, units
from modelhub.checkpoints import LoadSpec
from modelhub.errors import ModelhubError
from modelhub.generation import Frame
from modelhub.inference.embeddings import embed
from modelhub.inference.engine import Engine
from modelhub.inference.interruption import Interrupted, Interruption
from modelhub.inference.parameters import limits_of
from modelhub.inference.pipelines import Predictor
from modelhub.loader import nine_steps
from modelhub.loader.allocator import keep_blocks
from modelhub.loader.explain import explain
from modelhub.loader.files.preview import preview
from modelhub.loader.finishing import LoadedModel
from modelhub.loader.preparation import prepare_process
from modelhub.loader.prepared import Prepared
from modelhub.payloads import Prediction
from modelhub.workers.channel import Channel, Message
from modelhub.workers.confinement.guard import Guard, provide_token
from modelhub.workers.inbox import Inbox
from modelhub.workers.lifeline import name_process, prefer_as_oom_victim

log = logging.getLogger(__name__)
_LOOK_S = 2.0  # how often to look whether memory runs short, which takes a millisecond


def main(sock: socket.socket, prepared: Prepared | None = None) -> None:
    """Serve one channel: ``load``, then ``predict`` requests, until it ends; or one ``preview``.

    ``prepared`` is what the process has inherited of the model.
    """
    name_process("modelhub-worker", "modelhub: worker")
    prefer_as_oom_victim()
    prepare_process()
    channel = _WorkerChannel(sock, takes_descriptors=True)
    interruption = Interruption()
    requests = Inbox(channel, interruption)
    first = requests.get()
    spec = LoadSpec(**first["spec"])
    token = first.pop("token", None)
    is_preview = first["op"] == "preview"
    title = f"modelhub: {'preview of ' if is_preview else ''}{spec.model_id}"
    name_process("modelhub-worker", title)
    if is_preview:
        _preview(channel, spec, token)
        return
    loaded = _load(channel, requests, spec, prepared, Guard(spec, token))
    if loaded is not None:
        _serve(channel, requests, interruption, loaded, spec)


class _WorkerChannel(Channel):
    """The channel of a worker: where the server has closed it, the process exits at once, without a word."""

    def send(self, message: Message, body: bytes = b"") -> None:
        """Send one message; does not return if the other end is closed."""
        try:
            super().send(message, body)
        except OSError:
            os._exit(0)


def _load(
    channel: Channel, requests: Inbox, spec: LoadSpec, prepared: Prepared | None, guard: Guard
) -> LoadedModel | None:
    def admit(need_bytes: int) -> None:
        channel.send({"type": "need", "bytes": need_bytes})
        refusal = requests.get()["error"]
        if refusal is not None:
            raise ModelhubError.from_dict(refusal)
        guard.admit(need_bytes)

    mapped_before = memory.resident().mapped
    descriptors = channel.descriptors
    link = socket.socket(fileno=descriptors.popleft()) if descriptors else None
    prefer_as_oom_victim(is_loading=True)
    checkpoints = nine_steps.load(spec, admit, link, prepared, guard.confine)
    try:
        while True:
            try:
                checkpoint = next(checkpoints)
            except StopIteration as end:
                model: LoadedModel = end.value
                break
            guard.begin(checkpoint.step)
            channel.send({"type": "checkpoint", "checkpoint": checkpoint})
    except Exception as error:
        failure = guard.explain(explain(error, spec))
        if failure.code in ("load_failed", "internal"):
            what = {"model": spec.model_id, "code": failure.code}
            log.exception("Loading %s failed", spec.model_id, extra=what)
        channel.send({"type": "error", "error": failure.to_dict()})
        return None
    prefer_as_oom_victim()
    mapped = max(0, memory.resident().mapped - mapped_before)
    channel.send({"type": "loaded", "facts": model.facts, "mapped": mapped})
    guard.finish()
    return model


def _preview(channel: Channel, spec: LoadSpec, token: str | None) -> None:
    provide_token(token)
    try:
        channel.send({"type": "preview", "preview": preview(spec)})
    except Exception as error:
        channel.send({"type": "error", "error": explain(error, spec).to_dict()})


def _serve(
    channel: Channel, requests: Inbox, interruption: Interruption, loaded: LoadedModel, spec: LoadSpec
) -> None:
    """Answer requests until the channel ends: text token by token, and between two tokens all others."""

    def send(frames: list[tuple[int, Frame]]) -> None:
        channel.send({"type": "frames", "frames": frames})

    def begin(number: int) -> None:
        channel.send({"type": "begun", "request": number})

    def fail(number: int, error: ModelhubError) -> None:
        body = json.dumps(error.to_dict()).encode()
        channel.send({"type": "result", "request": number, "ok": False, "length": len(body)}, body)

    keep_blocks()
    predictor = Predictor(loaded, interruption)
    limits = spec.exact, spec.most_answers, spec.conversation_bytes
    engine = Engine(loaded, interruption, send, fail, begin, *limits)
    requests.on_stop, requests.on_generate = engine.stop, engine.notice
    looked_at = time.monotonic()
    while True:
        message = requests.poll(0.0 if engine.has_work else _LOOK_S)
        if message is None:
            pass
        elif message["op"] == "generate":
            engine.add(message)
            continue
        elif message["op"] == "trim":
            engine.conversations.let_go()
        else:
            _predict(channel, predictor, interruption, message)
        if engine.has_work:
            engine.step()
        if time.monotonic() - looked_at >= _LOOK_S:
            looked_at = time.monotonic()
            engine.conversations.let_go_under_pressure()


def _predict(channel: Channel, predictor: Predictor, interruption: Interruption, request: Message) -> None:
    number, limits = request["request"], limits_of(request["limits"])

    def predict() -> bytes:
        if request["op"] == "embed":
            made = embed(predictor.loaded, request["inputs"], request["parameters"], limits)
            return json.dumps(made, separators=(",", ":")).encode()
        started = time.monotonic()
        outputs = predictor.predict(request["inputs"], request["parameters"], limits)
        seconds = round(time.monotonic() - started, 6)
        # A model without a task has raised by now.
        result: Prediction = {
            "model": request["model"],
            "task": predictor.task or "",
            "outputs": outputs,
            "seconds": seconds,
        }
        return json.dumps(result, separators=(",", ":")).encode()

    def interruptible() -> bytes:
        try:
            return interruption.run(number, limits.prediction_seconds, predict)
        except Interrupted as end:
            if not end.overdue:
                raise ModelhubError("prediction_failed", why="it was stopped.") from None
            limit = units.duration(limits.prediction_seconds)
            todo = "Ask for fewer tokens or send less, or raise the setting MODELHUB_PREDICTION_SECONDS."
            raise ModelhubError("prediction_timeout", id=request["model"], limit=limit, todo=todo) from None

    channel.send({"type": "begun", "request": number})
    ok, body = _run(interruptible)
    channel.send({"type": "result", "request": number, "ok": ok, "length": len(body)}, body)


def _run(predict: Callable[[], bytes]) -> tuple[bool, bytes]:
    """(True, the result) or (False, the error), as JSON: no prediction ends the process."""
    try:
        return True, predict()
    except ModelhubError as error:
        failure = error
    except MemoryError:
        failure = ModelhubError("prediction_failed", why="it needs more memory than its process may take.")
    except BaseException as error:
        log.exception("A prediction failed")
        failure = ModelhubError("prediction_failed", why=type(error).__name__)
    return False, json.dumps(failure.to_dict()).encode()
