"""Bounds on the memory and the computing time of a load, step by step, set by the process itself.

Memory is what the process may write (RLIMIT_DATA): what it maps from the model's files does not count. Beyond
that it gets none, and says so. Who computes for too long is ended by the kernel, whatever it does (SIGXCPU).
Only soft limits are set, so that a later step can raise them.
"""

from __future__ import annotations

import math
import os
import resource
import sys

from modelhub import memory
from modelhub.checkpoints import STEPS
from modelhub.errors import ModelhubError

STEP_BYTES = 192 * 2**20  # what a step may take besides what it takes for the model's files
_PER_FILE_BYTE = 10  # a tokenizer takes up to so much more than its file has
_WEIGHTS_BYTES = 512 * 2**20  # what steps 5 to 9 may take besides what was reserved for the model
_PREDICTION_BYTES = 2**30  # and half of what is free, once the model is ready
_CORE_SECONDS_PER_BYTE = 50e-9  # of steps 5 to 9: the first pass of a large vision model takes so long
_UNBOUNDED_STEP = 3  # it counts the bytes that it fetches
WEIGHTS_STEP = 5
_INFINITY = resource.RLIM_INFINITY
_MEMORY, _CPU = resource.RLIMIT_DATA, resource.RLIMIT_CPU
_IS_SUPPORTED = sys.platform == "linux"


class Bounds:
    """Those of one process; ``step_seconds`` of computing time is what a step has that counts no bytes.

    ``has_gpu``: its memory is not bounded, since drivers reserve more than they use.
    """

    def __init__(self, step_seconds: float, has_gpu: bool) -> None:
        self._step_seconds = step_seconds
        self._bounds_memory = _IS_SUPPORTED and not has_gpu
        self._step = 0
        self._taken_at_first = memory.data_bytes()
        self._memory_bytes = 0
        self._given = {limit: resource.getrlimit(limit)[0] for limit in (_MEMORY, _CPU)}

    def begin(self, step: int) -> None:
        """A step begins, or goes on."""
        if step == self._step:
            return
        self._step = step
        if step == 1:
            self._bound_memory(STEP_BYTES)
        if step == _UNBOUNDED_STEP:
            self._bound_cpu(None)
        elif step < WEIGHTS_STEP:
            self._bound_cpu(self._step_seconds)

    def know_files(self, size: int) -> None:
        """The small files are here: ``size`` bytes in all."""
        self._bound_memory(STEP_BYTES + _PER_FILE_BYTE * size)

    def admit(self, need_bytes: int) -> None:
        """The memory for the weights is reserved: bound steps 5 to 9."""
        self._taken_at_first = memory.data_bytes()
        cores = os.cpu_count() or 1
        self._bound_memory(need_bytes + _WEIGHTS_BYTES)
        self._bound_cpu(self._step_seconds + cores * (1 + need_bytes * _CORE_SECONDS_PER_BYTE))

    def finish(self) -> None:
        """The model is ready: its predictions have bounds of their own in time."""
        self._bound_cpu(None)
        self._taken_at_first = memory.data_bytes()
        self._bound_memory(_PREDICTION_BYTES + memory.free_bytes() // 2)

    def lift(self) -> None:
        """Let the process, and those that it forks, have all again."""
        self._bound_cpu(None)
        if self._bounds_memory:
            self._set(_MEMORY, None)

    def exceeded(self, model_id: str) -> ModelhubError:
        """``too_costly``: the process has asked for more memory than it may have."""
        asked = self._memory_bytes // 2**20
        return too_costly(model_id, self._step, f"asked for more than {asked} MB of memory")

    @property
    def bounds_memory(self) -> bool:
        """Whether a request for memory fails beyond this bound, and not since there is no more to be had."""
        is_lowest = resource.getrlimit(_MEMORY)[0] == self._taken_at_first + self._memory_bytes
        is_free = resource.getrlimit(resource.RLIMIT_AS)[0] == _INFINITY
        return (
            self._bounds_memory and is_free and is_lowest and memory.free_bytes() > memory.total_bytes() // 16
        )

    def _bound_memory(self, size: int) -> None:
        self._memory_bytes = size
        if self._bounds_memory:
            self._set(_MEMORY, self._taken_at_first + size)

    def _bound_cpu(self, seconds: float | None) -> None:
        """End the process once it has computed for ``seconds`` more, in all of its threads together."""
        if seconds is not None:
            usage = resource.getrusage(resource.RUSAGE_SELF)
            seconds = math.ceil(usage.ru_utime + usage.ru_stime + seconds)
        self._set(_CPU, seconds)

    def _set(self, limit: int, value: float | None) -> None:
        """Set a soft limit, never above the one that the process was given; None for that."""
        given = self._given[limit]
        low = given if value is None else int(value) if given == _INFINITY else min(int(value), given)
        resource.setrlimit(limit, (low, resource.getrlimit(limit)[1]))


def too_costly(model_id: str, step: int, bound: str) -> ModelhubError:
    """The error for a step (0 where none had begun) that has exceeded ``bound``."""
    named = "its load"
    if step:
        named = f"step {step} ({STEPS[step - 1].message.rstrip('.')})"
    todo = "MODELHUB_STEP_SECONDS and MODELHUB_SANDBOX raise the bounds."
    return ModelhubError("too_costly", id=model_id, step=named, bound=bound, todo=todo)
