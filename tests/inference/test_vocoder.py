"""Sound out of spectrograms, without the weights of a vocoder."""

from __future__ import annotations

import numpy
import pytest
import torch
from transformers import SpeechT5FeatureExtractor

from modelhub.inference.vocoder import GriffinLim


@pytest.mark.parametrize("frequency", [220, 440, 1_000])
def test_a_tone_comes_back_from_the_spectrogram_that_speecht5_is_trained_on(frequency: int) -> None:
    tone = 0.3 * numpy.sin(2 * numpy.pi * frequency * numpy.arange(16_000) / 16_000)
    features = SpeechT5FeatureExtractor()(audio_target=tone, sampling_rate=16_000, return_tensors="pt")
    samples = GriffinLim()(features["input_values"][0]).numpy()
    assert len(samples) == pytest.approx(16_000, abs=512)
    spectrum = numpy.abs(numpy.fft.rfft(samples[2_000:14_000]))
    found = numpy.argmax(spectrum) * 16_000 / 12_000
    assert found == pytest.approx(frequency, rel=0.12), "within one band of the spectrogram"
    assert 0.15 < numpy.abs(samples).max() < 0.6


@pytest.mark.parametrize("frames", [1, 2, 50])
def test_every_length_has_a_sound(frames: int) -> None:
    samples = GriffinLim()(torch.zeros(frames, 80))
    assert samples.ndim == 1
    assert len(samples) >= 256
    assert samples.abs().max() <= 1
