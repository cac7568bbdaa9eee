"""The nine checkpoints of a model load, and the types that the loader shares with the server."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class ModelLoadPhase(str, Enum):  # noqa: UP042 - its bases are part of the specification
    """The four phases of a load, in order."""

    INITIALIZATION = "initialization"
    LOADING_MODEL = "loading_model"
    DEVICE_SETUP = "device_setup"
    OPTIMIZATION = "optimization"


class Step(NamedTuple):
    """One row of the table of nine steps, which is the same for every load."""

    step: int
    phase: ModelLoadPhase
    message: str
    percent: int


_INIT, _LOAD = ModelLoadPhase.INITIALIZATION, ModelLoadPhase.LOADING_MODEL
_DEVICE, _OPTIMIZE = ModelLoadPhase.DEVICE_SETUP, ModelLoadPhase.OPTIMIZATION

STEPS: tuple[Step, ...] = (
    Step(1, _INIT, "Initializing model loader...", 11),
    Step(2, _INIT, "Loading feature extractor...", 22),
    Step(3, _LOAD, "Checking model cache...", 33),
    Step(4, _LOAD, "Preparing loading strategies...", 44),
    Step(5, _LOAD, "Loading model weights...", 56),
    Step(6, _DEVICE, "Model loaded successfully", 67),
    Step(7, _DEVICE, "Moving model to device...", 78),
    Step(8, _OPTIMIZE, "Applying optimizations...", 89),
    Step(9, _OPTIMIZE, "Finalizing model setup...", 100),
)
TOTAL_STEPS = len(STEPS)


class Checkpoint(NamedTuple):
    """What a load yields when a step begins or progresses.

    ``done`` and ``size`` count in ``unit`` ("bytes", "tensors", "layers" or "modules"); all three are None if
    the step has no progress of its own or its size is not known.
    """

    step: int
    message: str
    done: int | None = None
    size: int | None = None
    unit: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What a request for a load may choose; None is what the settings say. See LoadSpec."""

    force: bool = False
    device: str | None = None
    dtype: str | None = None


@dataclass(frozen=True, slots=True)
class LoadSpec:
    """What to load and how: all that a worker process needs.

    ``models_dir`` has the user's own models, ``demo_dir`` the generated demos. ``device`` is auto, cpu, mps,
    cuda or a GPU such as cuda:1; ``dtype`` is auto (that of the files) or a torch name such as bfloat16.
    ``force`` skips the memory check. ``exact`` keeps the logits bit-equal to those of transformers.
    ``sandbox`` (auto, strict or off) is how the process is confined, ``step_seconds`` the computing time that
    a step has which counts no bytes. ``most_answers`` is how many texts the model writes at once,
    ``conversation_bytes`` how much is kept of those that have ended (None: a part of the free memory).
    """

    model_id: str
    models_dir: str
    demo_dir: str
    device: str = "auto"
    dtype: str = "auto"
    force: bool = False
    exact: bool = False
    sandbox: str = "auto"
    step_seconds: float = 8.0
    most_answers: int = 8
    conversation_bytes: int | None = None


def checkpoint(
    step: int,
    done: int | None = None,
    size: int | None = None,
    unit: str | None = None,
    detail: str | None = None,
) -> Checkpoint:
    """A checkpoint with its message from the table of nine.

    Raises ValueError for a step outside 1 to 9.
    """
    return Checkpoint(step, describe_step(step).message, done, size, unit, detail)


def describe_step(step: int) -> Step:
    """The row of the table for ``step``; raises ValueError outside 1 to 9."""
    if not 1 <= step <= TOTAL_STEPS:
        raise ValueError(f"A load has steps 1 to {TOTAL_STEPS}; there is no step {step}.")
    return STEPS[step - 1]


def map_step_to_phase(step: int) -> ModelLoadPhase:
    """The phase that ``step`` belongs to; raises ValueError outside 1 to 9."""
    return describe_step(step).phase
