"""Generates the demo models: random weights of a fixed seed, written to disk tensor by tensor."""

from __future__ import annotations

import fcntl
import json
import math
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
from modelhub.demos import LOCK_FILE, PARTIAL_PREFIX, SEED, VOCABULARY, Demo, is_made, sweep
from modelhub.errors import ModelhubError
from modelhub.loader import background
from modelhub.loader.files.opening import INDEX, WEIGHTS, Files

POSITIONS = 2048
_SPECIALS = ("<|begin|>", "<|end|>", "<|pad|>")
_SPREAD = 0.02
_PIECE_NUMBERS = 2**20
_RESERVE_BYTES = 10**7
_README = """# {model_id}

Random weights. This model was made on this machine by modelhub, to try out loading without a network.
It has {parameters} parameters in bfloat16 and has learned nothing: what it writes has no meaning.
"""


@dataclass(frozen=True, slots=True)
class _TensorSpec:
    """One tensor to generate: its name, shape and size in bytes."""

    name: str
    shape: tuple[int, ...]
    size: int


class DemoMaker:
    """The origin of a demo that is not on disk: makes it in a folder of its own, then renames that folder.

    The weights are made in step 3, where other origins fetch them.
    """

    kind = "demo"
    complete = False
    revision: str | None = None

    def __init__(self, demo: Demo, demo_dir: Path) -> None:
        self._demo = demo
        self._demo_dir = demo_dir
        self.folders: tuple[Path, ...] = (demo_dir,)
        self._final = demo_dir / demo.model_id
        self._partial = self._final
        self._lock: int | None = None

    def fetch_config(self) -> Generator[Checkpoint, None, Files]:
        """Write the small files; raises ``disk_full`` if the weights would not fit."""
        yield checkpoint(1, detail="generating a demo model on this machine")
        self._final.parent.mkdir(parents=True, exist_ok=True)
        sweep(self._demo_dir)
        self._check_disk()
        self._partial = Path(
            tempfile.mkdtemp(prefix=f"{PARTIAL_PREFIX}{self._final.name}-", dir=self._final.parent)
        )
        self._partial.chmod(0o755)
        self._lock = os.open(self._partial / LOCK_FILE, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        _config(self._demo).save_pretrained(self._partial)
        GenerationConfig(bos_token_id=256, eos_token_id=257, pad_token_id=258).save_pretrained(self._partial)
        _tokenizer().save_pretrained(self._partial)
        text = _README.format(model_id=self._demo.model_id, parameters=self._demo.parameters)
        (self._partial / "README.md").write_text(text)
        return Files(self._demo.model_id, self._partial)

    def fetch_processor(self) -> Generator[Checkpoint, None, Files]:
        """Its files were written together with the configuration."""
        yield from ()
        return Files(self._demo.model_id, self._partial)

    def fetch_weights(self) -> Generator[Checkpoint, None, Files]:
        """Generate and write the weights; yields the bytes that are on disk."""
        shards = _split(_tensor_specs(self._demo), self._demo.shards)
        total = sum(spec.size for shard in shards for spec in shard)
        written = [0]

        def work(cancel: background.Cancel) -> None:
            _write_shards(self._partial, shards, written, cancel)
            self._publish()

        detail = "generating random weights"
        yield from background.run(work, lambda: checkpoint(3, written[0], total, "bytes", detail))
        return Files(self._demo.model_id, self._final)

    def close(self) -> None:
        """Remove the incomplete demo, if there is one."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
            shutil.rmtree(self._partial, ignore_errors=True)

    def _check_disk(self) -> None:
        needed, free = self._demo.size_bytes + _RESERVE_BYTES, shutil.disk_usage(self._final.parent).free
        if needed > free:
            name = self._demo.model_id
            raise ModelhubError("disk_full", id=name, needed=units.size(needed), free=units.size(free))

    def _publish(self) -> None:
        (self._partial / LOCK_FILE).unlink()
        try:
            self._partial.rename(self._final)
        except OSError:
            # Another server may have made the same demo meanwhile; then close() removes this one.
            if not is_made(self._final):
                raise


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
    """One token for each byte and three special tokens, so that it can encode any text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    begin, end, pad = _SPECIALS
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=begin, eos_token=end, pad_token=pad, model_max_length=POSITIONS
    )


def _tensor_specs(demo: Demo) -> list[_TensorSpec]:
    with torch.device("meta"):
        model = LlamaForCausalLM(_config(demo)).to(torch.bfloat16)
    return [_TensorSpec(name, tuple(t.shape), t.nbytes) for name, t in model.state_dict().items()]


def _split(specs: Sequence[_TensorSpec], shards: int) -> list[list[_TensorSpec]]:
    """Group the tensors into shards of about the same size, in the order of the model."""
    total = sum(spec.size for spec in specs)
    groups: list[list[_TensorSpec]] = [[] for _ in range(shards)]
    position = 0
    for spec in specs:
        groups[min(position * shards // total, shards - 1)].append(spec)
        position += spec.size
    return [group for group in groups if group]


def _write_shards(
    folder: Path, shards: Sequence[Sequence[_TensorSpec]], written: list[int], cancel: background.Cancel
) -> None:
    generator = torch.Generator().manual_seed(SEED)
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        name = WEIGHTS if len(shards) == 1 else f"model-{number:05}-of-{len(shards):05}.safetensors"
        weight_map |= {spec.name: name for spec in shard}
        with _open_safetensors(folder / name, shard) as file:
            for spec in shard:
                for piece in _random_pieces(spec, generator):
                    cancel.check()
                    file.write(piece)
                    written[0] += len(piece)
    if len(shards) > 1:
        metadata = {"total_size": sum(spec.size for shard in shards for spec in shard)}
        (folder / INDEX).write_text(json.dumps({"metadata": metadata, "weight_map": weight_map}, indent=1))


@contextmanager
def _open_safetensors(path: Path, shard: Sequence[_TensorSpec]) -> Iterator[BinaryIO]:
    """A safetensors file with its header written; the caller writes the tensors' bytes in order."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    position = 0
    for spec in shard:
        offsets = [position, position + spec.size]
        header[spec.name] = {"dtype": "BF16", "shape": spec.shape, "data_offsets": offsets}
        position += spec.size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb", buffering=0) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        yield file


def _random_pieces(spec: _TensorSpec, generator: torch.Generator) -> Iterator[memoryview]:
    """The bytes of a tensor, in pieces that take little memory beside what a step may take."""
    count = math.prod(spec.shape)
    for begin in range(0, count, _PIECE_NUMBERS):
        piece = torch.empty(min(_PIECE_NUMBERS, count - begin))
        if spec.name.endswith("norm.weight"):
            piece.fill_(1)
        else:
            piece.normal_(0, _SPREAD, generator=generator)
        yield piece.to(torch.bfloat16).view(torch.uint8).numpy().data
