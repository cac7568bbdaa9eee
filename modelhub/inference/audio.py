"""Audio inputs: WAV, FLAC, MP3 and OGG files or lists of samples, in one channel at the rate of a model."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Any, TypedDict

import numpy
import soundfile
import soxr

from modelhub.inference.data_uris import BadInputs, decode, encode
from modelhub.inference.quota import Quota

# What libsndfile reads besides these is rare, and each format is code that parses bytes from outside.
_FORMATS = frozenset(("WAV", "WAVEX", "RF64", "FLAC", "MP3", "OGG"))
_FIRST_BYTES = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"ID3")
_UNKNOWN_FRAMES = 2**62  # as libsndfile counts a file that does not say how long it is
_RATES = range(1_000, 768_001)
_BLOCK_SAMPLES = 2**20
_TODO = 'Send a WAV, FLAC, MP3 or OGG file as a base64 data: URI, or {"raw": [...], "sampling_rate": 16000}.'


class Audio(TypedDict):
    """Audio as pipelines take it: samples from -1 to 1 in one channel, and how many there are in a second."""

    raw: Any
    sampling_rate: int


def prepare_audio(value: Any, quota: Quota) -> Audio:
    """The audio in a data: URI, in ``{"audio": URI}`` or in ``{"raw", "sampling_rate"}``, at ``quota.rate``.

    A bare list of numbers is taken to be at that rate already. Raises BadInputs.
    """
    if isinstance(value, dict) and value.keys() == {"audio"}:
        value = value["audio"]
    if isinstance(value, str):
        samples = _decode_file(value, quota)
    elif isinstance(value, dict) and value.keys() == {"raw", "sampling_rate"}:
        samples = _resample([_samples(value["raw"])], value["sampling_rate"], quota)
    elif isinstance(value, list):
        samples = _resample([_samples(value)], quota.rate, quota)
    else:
        raise BadInputs("they contain no audio.", _TODO)
    return {"raw": samples, "sampling_rate": quota.rate}


def _decode_file(uri: str, quota: Quota) -> Any:
    data = decode(uri)
    is_mp3 = len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0
    if not is_mp3 and not data.startswith(_FIRST_BYTES):
        raise BadInputs("audio of that format is not accepted.", _TODO)
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            if file.format not in _FORMATS:
                raise BadInputs(f"audio of the format {file.format} is not accepted.", _TODO)
            if file.frames < _UNKNOWN_FRAMES:
                quota.check_seconds(file.frames / file.samplerate)
            return _resample(_blocks(file), file.samplerate, quota)
    except soundfile.LibsndfileError as error:
        raise BadInputs("the audio cannot be read.", _TODO) from error


def _blocks(file: soundfile.SoundFile) -> Iterator[Any]:
    """The mean of the channels, in pieces: a file may be longer than its header says."""
    frames = max(1, _BLOCK_SAMPLES // file.channels)
    while len(block := file.read(frames, dtype="float32", always_2d=True)):
        yield block.mean(axis=1)


def _resample(blocks: Iterable[Any], from_rate: Any, quota: Quota) -> Any:
    """All samples at the quota's rate; each block takes its seconds before it is resampled."""
    if type(from_rate) is not int or from_rate not in _RATES:
        raise BadInputs(f"the sampling rate must be from {_RATES[0]} to {_RATES[-1]} Hz.", _TODO)
    rate = quota.rate
    stream = soxr.ResampleStream(from_rate, rate, 1) if from_rate != rate else None
    pieces = []
    for block in blocks:
        quota.take_seconds(len(block) / from_rate)
        pieces.append(block if stream is None else stream.resample_chunk(block))
    if stream is not None:
        pieces.append(stream.resample_chunk(numpy.zeros(0, numpy.float32), last=True))
    samples = numpy.concatenate(pieces) if pieces else numpy.zeros(0, numpy.float32)
    return _checked(samples, "the audio has no samples, or some that are not numbers.")


def _samples(values: Any) -> Any:
    why = "raw is not a flat list of numbers."
    if not isinstance(values, list):
        raise BadInputs(why, _TODO)
    try:
        return _checked(numpy.asarray(values, dtype=numpy.float32), why)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadInputs(why, _TODO) from error


def _checked(samples: Any, why: str) -> Any:
    if samples.ndim != 1 or samples.size == 0 or not numpy.isfinite(samples).all():
        raise BadInputs(why, _TODO)
    return samples


def encode_wave(samples: Any, rate: int) -> str:
    """Samples from -1 to 1 as a WAV file (PCM of 16 bits) in a data: URI; a second axis is channels."""
    buffer = io.BytesIO()
    samples = numpy.clip(numpy.atleast_2d(numpy.asarray(samples, dtype=numpy.float32)), -1, 1)
    # Models return (channels, samples); a file has the samples of all channels side by side.
    soundfile.write(buffer, samples.T, rate, format="WAV", subtype="PCM_16")
    return encode(buffer.getvalue(), "audio/wav")
