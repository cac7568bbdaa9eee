"""Following a load: the checkpoints of a worker become events; for the server and for ``preload --here``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from modelhub.checkpoints import Checkpoint, LoadOptions, LoadSpec
from modelhub.config import Settings
from modelhub.payloads import Conditions, Facts
from modelhub.progress.adapter import ProgressAdapter
from modelhub.progress.pace import Expect
from modelhub.workers.diagnosis import Diagnosis
from modelhub.workers.worker import Worker


class Source(Protocol):
    """What a worker comes from: a launcher, or a machine of several."""

    def waiting(self) -> Checkpoint | None:
        """How far a load is that waits for its worker, see ``Launcher.waiting``."""

    def processes_of(self, worker: Worker) -> Sequence[int]:
        """The processes here that a load is held up by."""


def load_spec(settings: Settings, model_id: str, options: LoadOptions) -> LoadSpec:
    """What a worker has to know to load the model, by the options of the request, else by the settings."""
    return LoadSpec(
        model_id,
        models_dir=str(settings.models_dir),
        demo_dir=str(settings.demo_dir),
        device=options.device or settings.device,
        dtype=options.dtype or settings.dtype,
        force=options.force,
        exact=settings.exact,
        sandbox=settings.sandbox,
        step_seconds=settings.step_seconds,
        most_answers=settings.batch,
        conversation_bytes=settings.conversation_cache,
    )


def announce(
    adapter: ProgressAdapter,
    source: Source,
    load_id: str,
    model_id: str,
    conditions: Conditions,
    expect: Expect,
    node: str | None = None,
    placement: str | None = None,
) -> None:
    """Emit that a load begins in ``conditions``, and why it has to wait where there is no worker yet.

    In a cluster it begins on ``node``, for the reason ``placement``.
    """
    adapter.started(model_id, load_id, conditions, expect, node, placement)
    if waiting := source.waiting():
        adapter.emit_progress(model_id, *waiting)


def follow(
    adapter: ProgressAdapter,
    source: Source,
    worker: Worker,
    spec: LoadSpec,
    admit: Callable[[int], None],
    is_cancelled: Callable[[], bool] = lambda: False,
    reached: Checkpoint | None = None,
) -> Facts | None:
    """Have the worker load the model and emit each checkpoint; return the facts of the loaded model.

    Before its first one, how far the zygote is that will fork it; in a stall, the likely cause.
    ``admit`` gets the bytes of memory needed and refuses by raising ModelhubError. Returns None once
    ``is_cancelled``, which is looked at before each checkpoint and each tick of 0.1 s. ``reached`` is how far
    an earlier attempt came: the load stays there until this one is as far, and what has no detail has that of
    ``reached``. Raises ModelhubError where the load fails or the process ends.
    """
    checkpoints = worker.load(spec, admit)
    diagnosis = Diagnosis(lambda: source.processes_of(worker))
    step, has_begun, is_further, waited = 1, False, False, source.waiting()
    while not is_cancelled():
        try:
            news = next(checkpoints)
        except StopIteration as end:
            facts: Facts = end.value
            return facts
        has_begun = has_begun or news is not None
        if not has_begun and (waiting := source.waiting()) != waited:
            news = waited = waiting
        if news is not None and reached is not None:
            is_further = is_further or not is_behind(news, reached)
            news = news._replace(detail=news.detail or reached.detail) if is_further else reached
        if news is None:
            adapter.tick(spec.model_id, partial(diagnosis.cause, step))
        else:
            step = news.step
            adapter.emit_progress(spec.model_id, *news)
    return None


def is_behind(news: Checkpoint, reached: Checkpoint) -> bool:
    """Whether a checkpoint is from before another one of an earlier attempt."""
    if news.step != reached.step or reached.done is None:
        return news.step < reached.step
    return news.unit != reached.unit or (news.done or 0) < reached.done
