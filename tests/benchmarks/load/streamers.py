"""Peers that copy: runs in an environment of its own, with one streamer's name as its argument.

Has everything imported and has loaded once, then prints for each line of input the seconds that a load
took: the streamer's tensors given to from_pretrained as state_dict, tokenizer and one forward pass.
"""

from __future__ import annotations

import gc
import sys
import time
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoTokenizer


def runai(paths: list[str]) -> dict[str, Any]:
    """By runai-model-streamer: threads read into one buffer, which is reused: each tensor is copied out."""
    from runai_model_streamer import SafetensorsStreamer

    with SafetensorsStreamer() as streamer:
        streamer.stream_files(paths)
        return {name: tensor.clone() for name, tensor in streamer.get_tensors()}


def fastsafetensors(paths: list[str]) -> dict[str, Any]:
    """By fastsafetensors without GPUDirect: whole files into memory, tensors copied out of them."""
    from fastsafetensors import fastsafe_open

    with fastsafe_open(paths, nogds=True, device="cpu") as file:
        return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - it is no dict


def main() -> None:
    """Load once, then once for each line of input."""
    stream = {"runai": runai, "fastsafetensors": fastsafetensors}[sys.argv[1]]
    folder = Path(sys.argv[2])
    paths = [str(path) for path in sorted(folder.glob("*.safetensors"))]

    def load() -> None:
        config = AutoConfig.from_pretrained(folder)
        state = stream(paths)
        model_class = transformers.MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
        model = model_class.from_pretrained(None, config=config, state_dict=state, dtype=config.dtype).eval()
        token = AutoTokenizer.from_pretrained(folder)("Hello", return_tensors="pt")["input_ids"][:, :1]
        with torch.inference_mode():
            model(input_ids=token)

    load()
    print("ready", flush=True)
    for _ in sys.stdin:
        gc.collect()
        began = time.perf_counter()
        load()
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main()
