"""A kept model: a process that has prepared one model, and forks the workers that load it again.

It is forked from the zygote. It has the configuration, the tokenizer, the model without its bytes, and the
mapped files: all that a load needs beside reading and running. Like the zygote it has one thread and never
computes. It is a process of its own, since a model's files must not be able to block the zygote.
"""

from __future__ import annotations

import gc
import logging
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

from modelhub import memory
from modelhub.checkpoints import LoadSpec
from modelhub.loader.files.fingerprint import fingerprint
from modelhub.workers.lifeline import name_process, prefer_as_oom_victim, thread_count

if TYPE_CHECKING:
    from modelhub.loader.prepared import Prepared

log = logging.getLogger(__name__)
_PREPARE_TIMEOUT_S = 60
_MIN_FREE_SHARE = 0.1  # of all memory: with less free, what is kept is let go
CHECK_S = 2.0
_THREAD_GONE_S = 1.0


class Keeping:
    """When a kept model is let go: ``seconds`` after its last worker, when a file of it has changed, or when
    memory runs short."""

    def __init__(self, prepared: Prepared, seconds: float) -> None:
        self.prepared = prepared
        self._seconds = seconds
        self._used_at = time.monotonic()

    def is_over(self, has_workers: bool) -> bool:
        """Whether to end the process; call it every ``CHECK_S`` seconds. Raises OSError and ModelhubError."""
        if has_workers:
            self._used_at = time.monotonic()
            return False
        if fingerprint(self.prepared.files) != self.prepared.fingerprint:
            return True  # it would never be used again
        is_short = memory.free_bytes() < _MIN_FREE_SHARE * memory.total_bytes()
        return is_short or time.monotonic() - self._used_at > self._seconds


def keep(spec: dict[str, Any], seconds: float) -> Keeping | None:
    """In the new process: prepare the model; None if there is nothing to keep, or it cannot be forked."""
    import torch

    name_process("modelhub-kept", f"modelhub: prepared {spec['model_id']}")
    prefer_as_oom_victim()
    signal.alarm(_PREPARE_TIMEOUT_S)  # ends the process
    torch.set_num_threads(1)
    prepared = _prepared(LoadSpec(**spec))
    signal.alarm(0)
    if prepared is None or not _has_one_thread():
        return None
    gc.collect()
    gc.freeze()
    return Keeping(prepared, seconds)


def _prepared(spec: LoadSpec) -> Prepared | None:
    """What is prepared of the model, by a thread that is confined and then ends: the process must fork."""
    from modelhub.loader.explain import one_line
    from modelhub.loader.prepared import prepare
    from modelhub.workers.confinement.guard import Guard

    guard = Guard(spec, all_threads=False)

    def work() -> None:
        try:
            prepared.append(prepare(spec, guard.confine, guard.admit))
        except Exception as error:
            log.warning("Nothing is kept of %s: %s", spec.model_id, one_line(error))

    prepared: list[Prepared | None] = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    guard.release()
    return prepared[0] if prepared else None


def _has_one_thread() -> bool:
    """Whether the process can be forked; a thread that was joined may take a moment until it is gone."""
    deadline = time.monotonic() + _THREAD_GONE_S
    while thread_count() not in (1, None):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True
