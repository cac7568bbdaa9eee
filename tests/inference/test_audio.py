"""Audio of every accepted format and rate, for models at 16 kHz."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy
import pytest
import soundfile

from modelhub.inference.audio import Audio, encode_wave
from modelhub.inference.audio import prepare_audio as prepare_audio_within
from modelhub.inference.data_uris import BadInputs, encode
from modelhub.inference.pipelines import Predictor
from modelhub.inference.quota import Quota
from modelhub.limits import PredictionLimits
from tests.support.loads import run, spec_for
from tests.support.task_models import make_whisper

FORMATS = ("WAV", "FLAC", "MP3", "OGG")
RATES = (8_000, 22_050, 44_100)


def prepare_audio(value: Any, rate: int, max_seconds: int = 1_800) -> Audio:
    return prepare_audio_within(value, Quota(PredictionLimits(max_audio_seconds=max_seconds), rate))


def tone(rate: int, seconds: float = 1.0) -> Any:
    """A tone of 440 Hz."""
    return 0.5 * numpy.sin(2 * numpy.pi * 440 * numpy.arange(int(rate * seconds)) / rate)


def file_of(samples: Any, rate: int, kind: str = "WAV", subtype: str | None = None) -> str:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return encode(buffer.getvalue(), f"audio/{kind.lower()}")


@pytest.fixture(scope="module")
def recognisers(made: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Predictor]:
    folder = tmp_path_factory.mktemp("whisper")
    make_whisper(folder / "tiny" / "whisper")
    return {
        "whisper": Predictor(run(spec_for("tiny/whisper", folder))[1]),
        "wav2vec2": Predictor(run(spec_for("tiny/wav2vec2", made))[1]),
    }


@pytest.mark.parametrize("name", ["whisper", "wav2vec2"])
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("rate", RATES)
def test_speech_of_every_format_and_rate_is_recognised(
    recognisers: dict[str, Predictor], name: str, kind: str, rate: int
) -> None:
    parameters = {"generate_kwargs": {"max_new_tokens": 4}} if name == "whisper" else {}
    output = recognisers[name].predict(file_of(tone(rate), rate, kind), parameters)
    assert isinstance(output["text"], str)


def test_whisper_hears_more_than_30_seconds(recognisers: dict[str, Predictor]) -> None:
    whisper = recognisers["whisper"]
    whisper.loaded.model.generation_config.no_timestamps_token_id = 200
    sound = file_of(tone(8_000, 31), 8_000, "FLAC")
    output = whisper.predict(sound, {"generate_kwargs": {"max_new_tokens": 4}})
    assert isinstance(output["text"], str)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("rate", RATES)
def test_the_tone_is_the_same_after_resampling(kind: str, rate: int) -> None:
    prepared = prepare_audio(file_of(tone(rate), rate, kind), 16_000)
    assert prepared["sampling_rate"] == 16_000
    samples = prepared["raw"]
    # MP3 adds up to a tenth of a second of silence.
    assert 16_000 <= len(samples) + 20 <= 18_500
    spectrum = numpy.abs(numpy.fft.rfft(samples[2_000:14_000]))
    assert numpy.argmax(spectrum) * 16_000 / 12_000 == pytest.approx(440, abs=2)
    assert numpy.max(numpy.abs(samples[2_000:14_000])) == pytest.approx(0.5, abs=0.05)


def test_raw_samples_are_resampled_too(recognisers: dict[str, Predictor]) -> None:
    raw = {"raw": tone(44_100).tolist(), "sampling_rate": 44_100}
    assert len(prepare_audio(raw, 16_000)["raw"]) == pytest.approx(16_000, abs=2)
    assert isinstance(recognisers["wav2vec2"].predict(raw, {})["text"], str)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT"])
def test_channels_are_mixed_and_every_width_is_read(subtype: str) -> None:
    both = numpy.stack([tone(16_000), numpy.zeros(16_000)], axis=1)
    samples = prepare_audio(file_of(both, 16_000, subtype=subtype), 16_000)["raw"]
    assert samples.shape == (16_000,)
    assert numpy.allclose(samples, tone(16_000) / 2, atol=0.01)


def test_a_small_file_does_not_expand_without_bound() -> None:
    silence = file_of(numpy.zeros(8_000 * 61), 8_000, "FLAC")
    assert len(silence) < 4_000
    with pytest.raises(BadInputs, match="longer than 1 min 0 s"):
        prepare_audio(silence, 16_000, max_seconds=60)
    prepare_audio(file_of(numpy.zeros(8_000 * 59), 8_000, "FLAC"), 16_000, max_seconds=60)
    with pytest.raises(BadInputs, match="longer"):
        prepare_audio({"raw": [0.0] * 61_000, "sampling_rate": 1_000}, 16_000, max_seconds=60)


def test_a_file_that_is_too_long_by_its_header_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(soundfile.SoundFile, "read")
    with pytest.raises(BadInputs, match="longer"):
        prepare_audio(file_of(numpy.zeros(8_000 * 61), 8_000, "FLAC"), 16_000, max_seconds=60)


def test_all_sounds_of_a_request_share_the_seconds() -> None:
    quota = Quota(PredictionLimits(max_audio_seconds=60), 16_000)
    sound = file_of(numpy.zeros(8_000 * 25), 8_000, "FLAC")
    prepare_audio_within(sound, quota)
    prepare_audio_within(sound, quota)
    with pytest.raises(BadInputs, match="longer than 1 min 0 s"):
        prepare_audio_within(sound, quota)


@pytest.mark.parametrize(
    "value",
    [
        "data:audio/wav;base64,AAAA",
        encode(b"RIFF\x24\x00\x00\x00WAVEfmt ", "audio/wav"),
        file_of(tone(16_000), 16_000, "AIFF"),
        file_of(numpy.zeros(0), 16_000),
        file_of(numpy.full(100, numpy.nan), 16_000, subtype="FLOAT"),
        {"raw": [0.0] * 100, "sampling_rate": 1},
        {"raw": [0.0] * 100, "sampling_rate": 10**9},
        {"raw": [0.0] * 100, "sampling_rate": 16_000.0},
        {"raw": [0.0] * 100, "sampling_rate": True},
        {"raw": [[0.0]], "sampling_rate": 16_000},
        {"raw": [10**400], "sampling_rate": 16_000},
        {"audio": {"raw": [0.0]}},
        {"raw": [0.0]},
        [],
        None,
    ],
    ids=lambda value: str(value)[:40],
)
def test_audio_that_cannot_be_used(value: Any) -> None:
    with pytest.raises(BadInputs):
        prepare_audio(value, 16_000)


def test_sound_becomes_a_wave_file() -> None:
    uri = encode_wave(tone(16_000), 16_000)
    assert numpy.allclose(prepare_audio(uri, 16_000)["raw"], tone(16_000), atol=1e-4)
    assert encode_wave(numpy.stack([tone(8_000)] * 2), 8_000).startswith("data:audio/wav;base64,UklGR")
