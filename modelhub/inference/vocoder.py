"""Turns a spectrogram into sound, for models that return one (SpeechT5) and come without a vocoder.

The method is that of Griffin and Lim (1984), as it needs no weights; transformers would download a vocoder
from the hub. A voice sounds metallic, but it can be understood.
"""

from __future__ import annotations

from types import SimpleNamespace

import torch
from transformers.audio_utils import mel_filter_bank

_ROUNDS = 32
_FEWEST_FRAMES = 4  # the transform needs more samples than half a window


class GriffinLim:
    """The sound of a log-mel spectrogram of (frames, bands), as SpeechT5's feature extractor defines it."""

    SAMPLING_RATE = 16_000
    WINDOW = 1_024
    HOP = 256
    config = SimpleNamespace(sampling_rate=SAMPLING_RATE)  # where transformers' pipeline looks for it

    def __call__(self, spectrogram: torch.Tensor) -> torch.Tensor:
        """Return samples from -1 to 1 at 16 kHz."""
        log_mel = spectrogram.detach().float().cpu()
        missing = max(0, _FEWEST_FRAMES - len(log_mel))
        log_mel = torch.cat([log_mel, log_mel[-1:].expand(missing, -1)])
        bands = log_mel.shape[-1]
        filters = torch.from_numpy(
            mel_filter_bank(
                num_frequency_bins=self.WINDOW // 2 + 1,
                num_mel_filters=bands,
                min_frequency=80,
                max_frequency=7_600,
                sampling_rate=self.SAMPLING_RATE,
                norm="slaney",
                mel_scale="slaney",
            )
        ).float()
        magnitudes = (10**log_mel @ torch.linalg.pinv(filters)).clamp(min=0).T
        samples = self._invert(magnitudes)
        return samples / samples.abs().max().clamp(min=1)

    def _invert(self, magnitudes: torch.Tensor) -> torch.Tensor:
        """Look for phases that fit the magnitudes, in a fixed number of rounds."""
        window = torch.hann_window(self.WINDOW)
        phases = torch.ones_like(magnitudes, dtype=torch.complex64)
        length = self.HOP * (magnitudes.shape[1] - 1)
        for _ in range(_ROUNDS):
            samples = torch.istft(magnitudes * phases, self.WINDOW, self.HOP, window=window, length=length)
            spectrum = torch.stft(samples, self.WINDOW, self.HOP, window=window, return_complex=True)
            phases = torch.exp(1j * spectrum.angle())
        return torch.istft(magnitudes * phases, self.WINDOW, self.HOP, window=window, length=length)
