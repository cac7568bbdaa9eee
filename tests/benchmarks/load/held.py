"""A model held in memory by transformers: ``python -m tests.benchmarks.load.held FOLDER``.

For each line of input it prints one number: "forward on" and "forward off" the seconds of a forward pass of
one token with oneDNN and without, "generate N" those of generating N tokens, "error on" and "error off" the
mean absolute error of logits against the model in float32, each of one token.
"""

from __future__ import annotations

import copy
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from modelhub.loader.preparation import usable_cores
from tests.benchmarks.load.prompt import PROMPT, generation

_REPEATED = 3
_TOKENS = range(40, 56)


class Held:
    """The model, in memory of its own so that the files can leave the page cache."""

    def __init__(self, folder: str) -> None:
        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto").eval()
        for parameter in self._model.parameters():
            parameter.data = parameter.data.clone()
        self._prompt = AutoTokenizer.from_pretrained(folder)(PROMPT, return_tensors="pt")
        self._exact: list[torch.Tensor] = []

    @torch.inference_mode()
    def forward(self, switch: str) -> float:
        """Seconds of a forward pass, the median of a few."""
        with torch.backends.mkldnn.flags(enabled=switch == "on"):
            times = [_seconds(lambda: _logits(self._model, 72)) for _ in range(_REPEATED)]
        return statistics.median(times)

    @torch.inference_mode()
    def generate(self, count: str) -> float:
        """Seconds of generating that many tokens, as transformers does by itself."""
        return _seconds(lambda: self._model.generate(**self._prompt, **generation(int(count))))

    @torch.inference_mode()
    def error(self, switch: str) -> float:
        """The mean absolute error of logits, with the tokens fed one by one."""
        if not self._exact:
            exact = copy.deepcopy(self._model).float()
            self._exact = [_logits(exact, token) for token in _TOKENS]
        with torch.backends.mkldnn.flags(enabled=switch == "on"):
            found = [_logits(self._model, token).float() for token in _TOKENS]
        differences = [(one - other).abs() for one, other in zip(found, self._exact, strict=True)]
        return float(torch.cat(differences).mean())


def _logits(model: Any, token: int) -> torch.Tensor:
    logits: torch.Tensor = model(input_ids=torch.tensor([[token]])).logits
    return logits


def _seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Answer each line of input."""
    torch.set_num_threads(usable_cores())
    held = Held(sys.argv[1])
    held.generate("2")
    print("ready", flush=True)
    for line in sys.stdin:
        what, argument = line.split()
        print(getattr(held, what)(argument), flush=True)


if __name__ == "__main__":
    main()
