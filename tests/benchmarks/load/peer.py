"""What transformers does in a process that has everything imported.

For each line of input, "load FOLDER" or "tokenizer FOLDER" (the same with its tokenizer), it prints the
seconds that from_pretrained and a forward pass of one token took.
"""

from __future__ import annotations

import gc
import sys
import time

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from modelhub.loader.preparation import usable_cores


def load(folder: str, with_tokenizer: bool) -> float:
    """Seconds until the model has answered; it is freed afterwards."""
    gc.collect()
    token = torch.tensor([[72]])
    began = time.perf_counter()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto").eval()
    if with_tokenizer:
        token = AutoTokenizer.from_pretrained(folder)("Hello", return_tensors="pt")["input_ids"][:, :1]
    with torch.inference_mode():
        model(input_ids=token)
    seconds = time.perf_counter() - began
    del model
    gc.collect()
    return seconds


def main() -> None:
    """Load for each line of input, or once for arguments."""
    torch.set_num_threads(usable_cores())
    if len(sys.argv) > 1:
        load(sys.argv[1], with_tokenizer=True)
        return
    print("ready", flush=True)
    for line in sys.stdin:
        what, folder = line.split()
        print(load(folder, what == "tokenizer"), flush=True)


if __name__ == "__main__":
    main()
