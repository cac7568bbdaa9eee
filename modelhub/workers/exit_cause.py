"""Why the process of a model has ended, as an error that a person can read."""

from __future__ import annotations

import signal

from modelhub import units
from modelhub.errors import ModelhubError
from modelhub.workers.children import Exit
from modelhub.workers.confinement.bounds import WEIGHTS_STEP, too_costly

# What a process does to itself. The others come from outside.
_CRASHES = ("SIGSEGV", "SIGABRT", "SIGILL", "SIGFPE", "SIGTRAP", "SIGSYS")


def exit_error(model_id: str, ended: Exit, step: int = 0) -> ModelhubError:
    """The error for the end of a process that nobody has requested, in ``step`` of its load, 0 for none."""
    if ended.out_of_memory:
        used, limit = units.size(ended.peak_bytes), units.size(ended.limit_bytes)
        return ModelhubError("out_of_memory", id=model_id, used=used, limit=limit)
    if ended.status is None:
        return ModelhubError("crashed", id=model_id, status="how is not known")
    if ended.status >= 0:
        return ModelhubError("crashed", id=model_id, status=f"exit status {ended.status}")
    name = _signal_name(-ended.status)
    if name == "SIGBUS":
        return ModelhubError("file_changed", id=model_id)
    if name == "SIGXCPU":
        return too_costly(model_id, step, "took more computing time than it may")
    if name == "SIGABRT" and 0 < step < WEIGHTS_STEP:
        return too_costly(model_id, step, "ended its process, as a library does that gets no more memory")
    if name in _CRASHES:
        return ModelhubError("crashed", id=model_id, status=name)
    return ModelhubError("killed", id=model_id, signal=name)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
