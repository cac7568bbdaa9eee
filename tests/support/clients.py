"""What tests of clients of other programs' APIs look at."""

from __future__ import annotations

import time

import psutil

from tests.support.server import Server, wait_until

STORYTELLER, ENDLESS, RANDOM = "tiny/story", "tiny/endless", "tiny/random"
SPEECH, WHISPER, ENCODER = "tiny/wav2vec2", "tiny/whisper", "tiny/encoder"
ASK = "Tell me a story."
_LOOK_S = 0.25


def wait_idle(server: Server, model_id: str, timeout_s: float = 3.0) -> None:
    """Wait until the process of a model computes nothing any more."""
    process = server.process_of(model_id)

    def rests() -> bool:
        before = _computed(process)
        time.sleep(_LOOK_S)
        return _computed(process) - before < _LOOK_S / 5

    wait_until(rests, timeout_s)


def _computed(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
