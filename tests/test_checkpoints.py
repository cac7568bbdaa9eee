"""The table of the nine steps is the contract: it is written out here once more, from the specification."""

from __future__ import annotations

import pytest

from modelhub.checkpoints import STEPS, ModelLoadPhase, checkpoint, map_step_to_phase

SPECIFIED = [
    (1, "initialization", "Initializing model loader...", 11),
    (2, "initialization", "Loading feature extractor...", 22),
    (3, "loading_model", "Checking model cache...", 33),
    (4, "loading_model", "Preparing loading strategies...", 44),
    (5, "loading_model", "Loading model weights...", 56),
    (6, "device_setup", "Model loaded successfully", 67),
    (7, "device_setup", "Moving model to device...", 78),
    (8, "optimization", "Applying optimizations...", 89),
    (9, "optimization", "Finalizing model setup...", 100),
]


def test_the_nine_steps_are_those_of_the_specification() -> None:
    assert [(row.step, row.phase.value, row.message, row.percent) for row in STEPS] == SPECIFIED


@pytest.mark.parametrize(("step", "phase"), [(row[0], row[1]) for row in SPECIFIED])
def test_map_step_to_phase(step: int, phase: str) -> None:
    assert map_step_to_phase(step) is ModelLoadPhase(phase)


@pytest.mark.parametrize("step", [0, 10, -1])
def test_there_is_no_other_step(step: int) -> None:
    with pytest.raises(ValueError, match="no step"):
        map_step_to_phase(step)


def test_a_checkpoint_carries_the_message_of_its_step() -> None:
    assert checkpoint(5, 1, 2, "bytes").message == "Loading model weights..."
