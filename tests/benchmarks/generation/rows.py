"""What is held to what: modelhub's medians beside those of transformers serve."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from tests.benchmarks.generation.cases import CLIENTS, PROMPTS
from tests.benchmarks.load.rows import Row

Samples = dict[str, dict[str, list[float]]]  # by server and case


def rows(samples: Samples) -> Iterator[Row]:
    """The rows of the table."""
    ours = {case: median(numbers) for case, numbers in samples["modelhub"].items()}
    for name, cases in samples.items():
        if name != "modelhub":
            theirs = {case: median(numbers) for case, numbers in cases.items()}
            yield from _beside(name, ours, theirs)
    alone, beside = ours["short alone"], ours["short beside long"]
    yield Row("first token of a short request beside a long one / alone", beside / alone, 2.0)
    yield Row("longest wait for a token while another model loads", ours["gap"], 0.2, "s")
    yield Row("a client leaves: until the process is idle", ours["stop"], 1.0, "s")


def _beside(name: str, ours: dict[str, float], theirs: dict[str, float]) -> Iterator[Row]:
    if "1 client" not in theirs:
        return
    yield Row(f"tokens/s of 1 client / {name}", ours["1 client"] / theirs["1 client"], 1.5, at_least=True)
    for clients in CLIENTS:
        case = f"{clients} clients"
        yield Row(f"tokens/s of {case} / {name}", ours[case] / theirs[case], 2.0, at_least=True)
    for words in PROMPTS:
        case = f"first token, {words} words"
        yield Row(f"{case} / {name}", ours[case] / theirs[case], 0.7)
    yield Row(f"first token of turn two / {name}", ours["turn two"] / theirs["turn two"], 0.4)
    yield Row(f"first token, not loaded / {name}", ours["cold"] / theirs["cold"], 0.4)
