"""How much the inputs of one prediction may hold: everything takes its part before it is decoded or read."""

from __future__ import annotations

from typing import Any

from modelhub import units
from modelhub.inference.data_uris import BadInputs
from modelhub.limits import PredictionLimits

_MAX_DEPTH = 32


class Quota:
    """What is left of the limits of one prediction; each method raises BadInputs where that is too little.

    ``rate`` is the sampling rate of the model in Hz.
    """

    def __init__(self, limits: PredictionLimits, rate: int) -> None:
        self.limits = limits
        self.rate = rate
        self._seconds_left = float(limits.max_audio_seconds)
        self._inputs_left = limits.max_inputs
        self._bytes_left = limits.max_input_bytes
        self._pixels_left = limits.max_pixels

    def text(self, value: Any, what: str = "a text") -> str:
        """``value`` if it is a text, and not too long with all others."""
        if not isinstance(value, str):
            raise BadInputs(f"{what} is missing, or is no text.")
        try:
            self._bytes_left -= len(value.encode())
        except UnicodeEncodeError:
            raise BadInputs("a text has half of a character (a lone surrogate).") from None
        if self._bytes_left < 0:
            most = units.size(self.limits.max_input_bytes)
            raise BadInputs(f"their text is longer than {most}.", _less("MAX_INPUT_BYTES"))
        return value

    def count(self, value: list[Any]) -> list[Any]:
        """``value``, a list of inputs, messages or parts: not empty, and not too long with all others."""
        if not value:
            raise BadInputs("they are empty.")
        self._inputs_left -= len(value)
        if self._inputs_left < 0:
            raise BadInputs(f"they are more than {self.limits.max_inputs} at once.", _less("MAX_INPUTS"))
        return value

    def take_pixels(self, width: int, height: int) -> None:
        """An image of that size is decoded next."""
        self._pixels_left -= width * height
        if self._pixels_left < 0:
            raise self.too_many_pixels()

    def too_many_pixels(self) -> BadInputs:
        """What is raised for images that are too large."""
        most = self.limits.max_pixels / 10**6
        return BadInputs(f"the images have more than {most:g} million pixels.", _less("MAX_PIXELS"))

    def check_seconds(self, seconds: float) -> None:
        """So much audio is to be decoded, by its header."""
        if seconds > self._seconds_left:
            most = units.duration(self.limits.max_audio_seconds)
            raise BadInputs(f"the audio is longer than {most}.", _less("MAX_AUDIO_SECONDS"))

    def take_seconds(self, seconds: float) -> None:
        """So much audio was decoded."""
        self.check_seconds(seconds)
        self._seconds_left -= seconds

    def plain(self, value: Any, depth: int = 0) -> Any:
        """``value``, any JSON: not nested too deeply, and its texts not too long."""
        if depth > _MAX_DEPTH:
            raise BadInputs("they are nested too deeply.")
        if isinstance(value, dict):
            return {self.text(name): self.plain(one, depth + 1) for name, one in value.items()}
        if isinstance(value, list):
            return [self.plain(one, depth + 1) for one in value]
        return self.text(value) if isinstance(value, str) else value


def _less(setting: str) -> str:
    return f"Send less at once, or raise the setting MODELHUB_{setting}."
