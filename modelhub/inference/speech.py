"""Text to audio: transformers' pipeline with a vocoder of our own, and its sound as a WAV file."""

from __future__ import annotations

from typing import Any

import torch

from modelhub.inference.audio import encode_wave
from modelhub.inference.data_uris import BadInputs
from modelhub.inference.vocoder import GriffinLim


class SpeechPipeline:
    """Called like a pipeline of transformers; returns ``{"audio": data: URI, "sampling_rate": Hz}``."""

    task = "text-to-audio"

    def __init__(self, pipeline_class: Any, model: Any, parts: dict[str, Any]) -> None:
        # A pipeline without a vocoder would download one for a model that returns spectrograms.
        self._pipeline = pipeline_class(
            model=model, task=self.task, device=model.device, vocoder=GriffinLim(), **parts
        )
        self._voice_size = int(getattr(model.config, "speaker_embedding_dim", 0))
        self._dtype = model.dtype
        self._takes_voice = model.config.model_type == "speecht5"

    def __call__(self, inputs: Any, speaker_embeddings: Any = None, **parameters: Any) -> Any:
        if speaker_embeddings is not None and not self._takes_voice:
            raise BadInputs("the model takes no speaker_embeddings.", "Leave them out.")
        if self._takes_voice:
            parameters["forward_params"] = {"speaker_embeddings": self._voice(speaker_embeddings)}
        outputs = self._pipeline(inputs, **parameters)
        if isinstance(outputs, list):
            return [_as_wave(output) for output in outputs]
        return _as_wave(outputs)

    def _voice(self, numbers: Any) -> torch.Tensor:
        if numbers is None:
            return torch.zeros(1, self._voice_size, dtype=self._dtype)
        voice = torch.tensor(numbers, dtype=self._dtype).reshape(1, -1)
        if voice.shape[1] != self._voice_size:
            raise ValueError(f"speaker_embeddings must be {self._voice_size} numbers.")
        return voice


def _as_wave(output: dict[str, Any]) -> dict[str, Any]:
    rate = int(output["sampling_rate"])
    return {"audio": encode_wave(output["audio"], rate), "sampling_rate": rate}
