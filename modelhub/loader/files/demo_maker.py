"""Makes the demo models on this machine: random weights of a fixed seed, written tensor by tensor."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from modelhub import units
from modelhub.checkpoints import Checkpoint, checkpoint
from modelhub.demos import LOCK, MAKING, SEED, VOCABULARY, Demo, sweep
from modelhub.errors import ModelhubError
from modelhub.loader import background
from modelhub.loader.files.inspection import CONFIG, INDEX, WEIGHTS, Files

POSITIONS = 2048
_SPECIALS = ("<|begin|>", "<|end|>", "<|pad|>")
_SPREAD = 0.02
_SPARE_BYTES = 10**7
_README = """# {model_id}

Random weights. This model was made on this machine by modelhub, to try out loading without a network.
It has {parameters} parameters in bfloat16 and has learned nothing: what it writes has no meaning.
"""


@dataclass(frozen=True, slots=True)
class _Slot:
    """One tensor to be: its name, shape and size in bytes."""

    name: str
    shape: tuple[int, ...]
    size: int


def is_made(folder: Path) -> bool:
    """Whether a demo is there: it appears whole or not at all."""
    return (folder / CONFIG).is_file()


class DemoMaker:
    """Makes one demo model beside its final place, and moves it there when it is whole."""

    kind = "demo"
    complete = False
    revision: str | None = None

    def __init__(self, demo: Demo, demo_dir: Path) -> None:
        self._demo = demo
        self._demo_dir = demo_dir
        self._final = demo_dir / demo.model_id
        self._making = self._final
        self._lock: int | None = None

    def bring_config(self) -> Generator[Checkpoint, None, Files]:
        """Write what is small; raises ``disk_full`` where the weights would not fit."""
        yield checkpoint(1, detail="making a demo model on this machine")
        self._final.parent.mkdir(parents=True, exist_ok=True)
        sweep(self._demo_dir)
        self._check_disk()
        self._making = Path(tempfile.mkdtemp(prefix=f"{MAKING}{self._final.name}-", dir=self._final.parent))
        self._making.chmod(0o755)
        self._lock = os.open(self._making / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        _config(self._demo).save_pretrained(self._making)
        GenerationConfig(bos_token_id=256, eos_token_id=257, pad_token_id=258).save_pretrained(self._making)
        _tokenizer().save_pretrained(self._making)
        text = _README.format(model_id=self._demo.model_id, parameters=self._demo.parameters)
        (self._making / "README.md").write_text(text)
        return Files(self._demo.model_id, self._making)

    def bring_processor(self) -> Generator[Checkpoint, None, Files]:
        """Was written with the configuration."""
        yield from ()
        return Files(self._demo.model_id, self._making)

    def bring_weights(self) -> Generator[Checkpoint, None, Files]:
        """Make and write the weights; yields the bytes that are on disk."""
        shards = _split(_slots(self._demo), self._demo.shards)
        total = sum(slot.size for shard in shards for slot in shard)
        written = [0]

        def work(cancel: background.Cancel) -> None:
            _write_shards(self._making, shards, written, cancel)
            self._move()

        detail = "making random weights"
        yield from background.run(work, lambda: checkpoint(3, written[0], total, "bytes", detail))
        return Files(self._demo.model_id, self._final)

    def close(self) -> None:
        """Leave nothing half-made behind."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
            shutil.rmtree(self._making, ignore_errors=True)

    def _check_disk(self) -> None:
        needed, free = self._demo.size_bytes + _SPARE_BYTES, shutil.disk_usage(self._final.parent).free
        if needed > free:
            name = self._demo.model_id
            raise ModelhubError("disk_full", id=name, needed=units.size(needed), free=units.size(free))

    def _move(self) -> None:
        (self._making / LOCK).unlink()
        try:
            self._making.rename(self._final)
        except OSError:
            if not is_made(self._final):
                raise
        # else: another server made the same one meanwhile; ours goes away in close()


def _config(demo: Demo) -> Any:
    return LlamaConfig(
        architectures=["LlamaForCausalLM"],
        vocab_size=VOCABULARY,
        hidden_size=demo.hidden,
        intermediate_size=demo.intermediate,
        num_hidden_layers=demo.layers,
        num_attention_heads=demo.heads,
        num_key_value_heads=demo.heads,
        max_position_embeddings=POSITIONS,
        bos_token_id=256,
        eos_token_id=257,
        pad_token_id=258,
        tie_word_embeddings=False,
        dtype=torch.bfloat16,
    )


def _tokenizer() -> Any:
    """One token for each byte, and three special ones: it can write down any text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    begin, end, pad = _SPECIALS
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=begin, eos_token=end, pad_token=pad, model_max_length=POSITIONS
    )


def _slots(demo: Demo) -> list[_Slot]:
    with torch.device("meta"):
        model = LlamaForCausalLM(_config(demo)).to(torch.bfloat16)
    return [_Slot(name, tuple(t.shape), t.nbytes) for name, t in model.state_dict().items()]


def _split(slots: Sequence[_Slot], shards: int) -> list[list[_Slot]]:
    """Into files of about the same size, in the order of the model."""
    total = sum(slot.size for slot in slots)
    groups: list[list[_Slot]] = [[] for _ in range(shards)]
    position = 0
    for slot in slots:
        groups[min(position * shards // total, shards - 1)].append(slot)
        position += slot.size
    return [group for group in groups if group]


def _write_shards(
    folder: Path, shards: Sequence[Sequence[_Slot]], written: list[int], cancel: background.Cancel
) -> None:
    generator = torch.Generator().manual_seed(SEED)
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        name = WEIGHTS if len(shards) == 1 else f"model-{number:05}-of-{len(shards):05}.safetensors"
        weight_map |= {slot.name: name for slot in shard}
        with _safetensors(folder / name, shard) as file:
            for slot in shard:
                cancel.check()
                file.write(_random_bytes(slot, generator))
                written[0] += slot.size
    if len(shards) > 1:
        metadata = {"total_size": sum(slot.size for shard in shards for slot in shard)}
        (folder / INDEX).write_text(json.dumps({"metadata": metadata, "weight_map": weight_map}, indent=1))


@contextmanager
def _safetensors(path: Path, shard: Sequence[_Slot]) -> Iterator[BinaryIO]:
    """A safetensors file with its header written, for the tensors' bytes to follow in order."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    position = 0
    for slot in shard:
        offsets = [position, position + slot.size]
        header[slot.name] = {"dtype": "BF16", "shape": slot.shape, "data_offsets": offsets}
        position += slot.size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb", buffering=0) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        yield file


def _random_bytes(slot: _Slot, generator: torch.Generator) -> bytes:
    if slot.name.endswith("norm.weight"):
        tensor = torch.ones(slot.shape, dtype=torch.bfloat16)
    else:
        tensor = torch.empty(slot.shape).normal_(0, _SPREAD, generator=generator).to(torch.bfloat16)
    return tensor.view(torch.uint8).numpy().tobytes()
