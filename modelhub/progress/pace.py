"""How long each step is expected to take: constants until a load measures its own rate."""

from __future__ import annotations

from typing import NamedTuple

from modelhub.checkpoints import TOTAL_STEPS

# Seconds a step takes whatever the model's size, and bytes per second for what grows with it. Taken from
# runs on a 2-core machine with a local disk; a load corrects them by the rate it measures itself.
_FIXED_S = (0.05, 0.3, 0.02, 0.05, 0.2, 0.02, 0.02, 0.02, 0.2)
DOWNLOAD_BYTES_PER_S = 20e6
DEMO_BYTES_PER_S = 230e6  # what a demo model is made at
_READ_BYTES_PER_S = 1.2e9
_MOVE_BYTES_PER_S = 5e9
_FORWARD_BYTES_PER_S = 5e9
UNKNOWN_MODEL_BYTES = 1_000_000_000


class Fetch(NamedTuple):
    """What step 3 has to fetch or to make, and how fast it is expected to come."""

    size_bytes: int | None  # None where it is not known yet
    bytes_per_s: float = DOWNLOAD_BYTES_PER_S

    @property
    def seconds(self) -> float:
        """How long it is expected to take."""
        return (UNKNOWN_MODEL_BYTES if self.size_bytes is None else self.size_bytes) / self.bytes_per_s


def expected_seconds(step: int, model_bytes: int | None, fetch_s: float = 0.0) -> float:
    """Seconds that ``step`` (1 to 9) is expected to take for a model of ``model_bytes`` bytes.

    ``fetch_s`` is how long its files are expected to be fetched, in step 3.
    """
    size = UNKNOWN_MODEL_BYTES if model_bytes is None else model_bytes
    more = {
        3: fetch_s,
        5: size / _READ_BYTES_PER_S,
        7: size / _MOVE_BYTES_PER_S,
        9: size / _FORWARD_BYTES_PER_S,
    }
    return _FIXED_S[step - 1] + more.get(step, 0.0)


def expected_shares(model_bytes: int | None, fetch_s: float = 0.0) -> list[float]:
    """The share of the whole time that each step is expected to take."""
    seconds = [expected_seconds(step, model_bytes, fetch_s) for step in range(1, TOTAL_STEPS + 1)]
    return [round(one / sum(seconds), 4) for one in seconds]


def expected_after(step: int, model_bytes: int | None, fetch_s: float = 0.0) -> float:
    """Seconds that all steps after ``step`` are expected to take together."""
    later = range(step + 1, TOTAL_STEPS + 1)
    return sum(expected_seconds(one, model_bytes, fetch_s) for one in later)
