"""What is held to what: the rows of the table, from the medians and what the audits found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tests.benchmarks.load.audit import Audit
from tests.benchmarks.load.audits import NOISE
from tests.benchmarks.load.contest import KINDS
from tests.benchmarks.load.fixtures import LARGE, TOKENS
from tests.benchmarks.load.rounds import Samples

CONVERTED = 1.1  # the most private memory, as a share of what the conversion makes
FORWARD = ("2 GB forward, oneDNN on", "2 GB forward, oneDNN off")
RAW = ("2 GB raw read, direct", "2 GB raw read, populate")
# title, the case, what it is divided by (the quickest of them), the bound
_RATIOS = (
    ("2 GB warm, first load / from_pretrained + forward", "2 GB warm", ("2 GB warm, transformers",), 0.60),
    ("2 GB cold / from_pretrained + forward", "2 GB cold", ("2 GB cold, transformers",), 0.55),
    ("2 GB cold / best raw read", "2 GB cold", RAW, 1.15),
    (
        *("128,000 tokens warm / from_pretrained + tokenizer + forward", "128,000 tokens warm"),
        *(("128,000 tokens warm, transformers",), 0.50),
    ),
    ("128,000 tokens again / the same", "128,000 tokens again", ("128,000 tokens warm, transformers",), 0.25),
    ("2 GB cold / transformers serve", "2 GB cold", ("2 GB cold, transformers serve",), 0.40),
    ("2 GB warm / transformers serve", "2 GB warm", ("2 GB warm, transformers serve",), 0.15),
)
_OTHERS = ("fresh process", "runai", "fastsafetensors")


@dataclass(frozen=True)
class Row:
    """One case; ``value`` is held to ``bound`` and may not be higher, or with ``at_least`` not lower."""

    title: str
    value: float
    bound: float
    unit: str = ""
    at_least: bool = False
    for_information: bool = False

    @property
    def met(self) -> bool:
        """Whether the bound is met."""
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def to_json(self) -> dict[str, Any]:
        """For the line of JSON."""
        return {**asdict(self), "value": round(self.value, 4), "met": self.met}


def of_samples(samples: Samples) -> list[Row]:
    """The rows whose cases were run."""
    return [*_ratios(samples), *_times(samples), *_decode(samples), *_informational(samples)]


def _ratios(samples: Samples) -> Iterator[Row]:
    for title, case, others, bound in _RATIOS:
        ours, theirs = samples.median(f"{case}, modelhub"), quickest(samples, others)
        if ours is not None and theirs is not None:
            yield Row(title, ours / theirs, bound)


def _times(samples: Samples) -> Iterator[Row]:
    warm, forward = samples.median("2 GB warm, modelhub"), quickest(samples, FORWARD)
    if warm is not None and forward is not None:
        yield Row("2 GB warm, first load - fastest forward", (warm - forward) * 1e3, 70, "ms")
    for title, bound_s in (("2 GB", 0.20), ("0.1 GB", 0.06)):
        again = samples.median(f"{title} again, modelhub")
        if again is not None:
            yield Row(f"{title} again, after an unload", again, bound_s, "s")
    swap, alone = samples.median("2 GB swap, modelhub"), samples.median("2 GB again, modelhub")
    if swap is not None and alone is not None:
        yield Row("swap for 2 GB by one request - its load alone", (swap - alone) * 1e3, 20, "ms")


def _decode(samples: Samples) -> Iterator[Row]:
    ours, theirs = samples.median("2 GB decode, modelhub"), samples.median("2 GB decode, transformers")
    if ours is not None and theirs is not None:
        yield Row("tokens/s of predictions / transformers' default", ours / theirs, 1.6, at_least=True)


def _informational(samples: Samples) -> Iterator[Row]:
    pairs = [(f"{kind.title} {state}", "transformers") for kind in KINDS for state in ("warm", "cold")]
    pairs += [(f"{LARGE.title} {state}", name) for name in _OTHERS for state in ("warm", "cold")]
    for case, other in pairs:
        ours, theirs = samples.median(f"{case}, modelhub"), samples.median(f"{case}, {other}")
        if ours is not None and theirs is not None:
            name = "from_pretrained + forward" if other == "transformers" else other
            yield Row(f"{case} / {name}", ours / theirs, 1.0, for_information=True)


def quickest(samples: Samples, names: tuple[str, ...]) -> float | None:
    """The lowest of the medians of these cases; None if one is missing."""
    found = [value for name in names if (value := samples.median(name)) is not None]
    return min(found) if len(found) == len(names) else None


def of_audits(audits: Mapping[str, Audit]) -> list[Row]:
    """The rows of claims and of memory."""
    if not audits:
        return []
    found = audits.values()
    events, taken_back = sum(one.events for one in found), max(one.taken_back for one in found) / 1e6
    claims = f"bytes overclaimed, worst of {events} events"
    missing = "weights never in memory at ready, worst load"
    return [
        Row(claims, max(one.overclaimed for one in found) / 1e6, 0, "MB"),
        Row(missing, max(one.missing for one in found) / 1e6, 0, "MB"),
        Row("bytes that the kernel took back meanwhile", taken_back, 0, "MB", for_information=True),
        *(_memory(name, audit) for name, audit in audits.items()),
    ]


def _memory(name: str, audit: Audit) -> Row:
    title = name.rpartition(" ")[0]
    made = sum(kind.converted for kind in KINDS if kind.title == title)
    bound = (CONVERTED * made + NOISE) / 1e6
    has_tokenizer = title == TOKENS.title  # it takes more than the allowance, and is no weight
    peak = f"{name}: private memory at its peak"
    return Row(peak, audit.private / 1e6, bound, "MB", for_information=has_tokenizer)
