"""What one prediction may ask for, by the settings: checked before the work is done."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PredictionLimits:
    """The settings of a server that bound a prediction; docs/settings.md says what each is for."""

    max_new_tokens: int = 8_192
    max_sequences: int = 8  # of beams and of answers to one input
    max_inputs: int = 256
    max_input_bytes: int = 1_000_000  # of text, in all inputs
    max_pixels: int = 64_000_000  # of all images
    max_audio_seconds: int = 1_800  # of all sounds
    max_output_numbers: int = 8_000_000
    prediction_seconds: float = 600.0  # 0: no limit
