"""A peer of load.py: ``python -m tests.benchmarks.peer FOLDER`` loads once as transformers does, and ends.

With ``--stay`` it imports everything first, and then prints for a line of input, "load" or "floor", the
seconds that took: "load" is from_pretrained, tokenizer and a forward pass of one token; "floor" is a parallel
read of the files and a forward pass of a model that is in memory already.
"""

from __future__ import annotations

import gc
import sys
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer

from modelhub.loader.background import Cancel
from modelhub.loader.files.inspection import Files, check_folder
from modelhub.loader.files.weight_files import read_weight_files, weight_names
from modelhub.loader.preparation import usable_cores
from modelhub.loader.reading.reader import Reader


def load(folder: str) -> tuple[Any, Any]:
    """The model and one token for it, after a forward pass."""
    causal = "CausalLM" in (AutoConfig.from_pretrained(folder).architectures or [""])[0]
    model_class = AutoModelForCausalLM if causal else AutoModel
    model = model_class.from_pretrained(folder, dtype="auto").eval()
    token = AutoTokenizer.from_pretrained(folder)("Hello", return_tensors="pt")["input_ids"][:, :1]
    forward(model, token)
    return model, token


def forward(model: Any, token: Any) -> None:
    """One forward pass."""
    with torch.inference_mode():
        model(input_ids=token)


def read(folder: str) -> None:
    """Read all weights into memory, in parallel."""
    files = Files("bench/mark", Path(folder))
    reader = Reader(files, read_weight_files(files, weight_names(files, check_folder(files))))
    reader.start()
    reader.wait(Cancel())


def main() -> None:
    """Load once, or for each line of input."""
    torch.set_num_threads(usable_cores())
    folder = sys.argv[1]
    model, token = load(folder)
    if "--stay" not in sys.argv:
        return
    for (
        parameter
    ) in model.parameters():  # so that the floor's model does not keep the files in the page cache
        parameter.data = parameter.data.clone()
    print("ready", flush=True)
    for line in sys.stdin:
        gc.collect()
        began = time.perf_counter()
        if line.strip() == "load":
            load(folder)
        else:
            read(folder)
            forward(model, token)
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main()
