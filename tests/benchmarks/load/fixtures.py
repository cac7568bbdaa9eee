"""The models that are loaded: random weights, made once in a models folder, the same on every machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM

from modelhub.demos import DEMOS, is_made
from modelhub.loader.files.demo_maker import DemoMaker
from tests.benchmarks.load import tokens
from tests.support.models import BYTE_TOKENS, byte_tokenizer

SEED = 20261123
_SPREAD = 0.02
_POOL = 1 << 24  # random numbers of which all weights are cut
_NAMES = {torch.bfloat16: "BF16", torch.float32: "F32"}

Spec = tuple[str, tuple[int, ...]]  # the name and the shape of a tensor


@dataclass(frozen=True, slots=True)
class Fixture:
    """A model: ``make`` writes it into a folder; ``converted`` is what its conversion makes, in bytes."""

    model_id: str
    title: str
    make: Callable[[Path], None]
    converted: int = 0

    def folder(self, models: Path) -> Path:
        """Where it is in a models folder."""
        return models / self.model_id


def make(fixture: Fixture, models: Path) -> Path:
    """The folder of the model, made if it is not there yet."""
    folder = fixture.folder(models)
    if not is_made(folder):
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        fixture.make(partial)
        partial.rename(folder)
    return folder


def _demo(name: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        maker = DemoMaker(DEMOS[f"demo/{name}"], folder / "demos")
        for _ in chain(maker.fetch_config(), maker.fetch_processor(), maker.fetch_weights()):
            pass
        made = folder / "demos" / "demo" / name
        for path in made.iterdir():
            path.rename(folder / path.name)
        shutil.rmtree(folder / "demos")

    return write


def write_tokens(folder: Path, **fields: Any) -> None:
    """Write a Llama with a tokenizer of 128,000 tokens."""
    config = llama(vocab_size=tokens.VOCABULARY, tie_word_embeddings=True, **fields)
    write(folder, config, specs_of(LlamaForCausalLM, config), torch.bfloat16)
    tokens.write(folder)


def _tokens(folder: Path) -> None:
    write_tokens(
        folder,
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=12,
        num_attention_heads=32,
        num_key_value_heads=8,
    )


def _float32(folder: Path) -> None:
    write_small(folder, llama(**_FLOAT32), LlamaForCausalLM, torch.float32)


def _shards(folder: Path) -> None:
    config = llama(hidden_size=640, intermediate_size=1728, num_hidden_layers=60, num_attention_heads=10)
    write_small(folder, config, LlamaForCausalLM, torch.bfloat16, shards=40)


def write_experts(folder: Path, **fields: Any) -> None:
    """Write a Qwen3-MoE: its files have a tensor for each expert, which transformers joins into one."""
    fields = {**_EXPERTS, **BYTE_TOKENS, **fields}
    config = Qwen3MoeConfig(**fields, architectures=["Qwen3MoeForCausalLM"])
    config.dtype = torch.bfloat16
    write_small(folder, config, Qwen3MoeForCausalLM, torch.bfloat16)


def llama(**fields: Any) -> Any:
    """The configuration of a Llama with the tokens of bytes, unless ``fields`` say otherwise."""
    fields = {"tie_word_embeddings": False, **BYTE_TOKENS, **fields}
    return LlamaConfig(
        architectures=["LlamaForCausalLM"], max_position_embeddings=2048, dtype=torch.bfloat16, **fields
    )


def write_small(folder: Path, config: Any, model_class: Any, dtype: torch.dtype, shards: int = 1) -> None:
    """Write a model with a tokenizer of bytes."""
    write(folder, config, specs_of(model_class, config), dtype, shards)
    byte_tokenizer().save_pretrained(folder)


def specs_of(model_class: Any, config: Any) -> list[Spec]:
    """The tensors of the model's files, in their order; one that is tied to another is not in them."""
    with torch.device("meta"):
        state = model_class(config).state_dict(keep_vars=True)
    own: dict[int, tuple[str, torch.Tensor]] = {}
    for name, tensor in state.items():
        own.setdefault(id(tensor), (name, tensor))
    return [spec for name, tensor in own.values() for spec in _apart(name, tuple(tensor.shape))]


def _apart(name: str, shape: tuple[int, ...]) -> Iterator[Spec]:
    """A tensor of all experts as those of each one, any other as it is."""
    joined, _, part = name.rpartition(".")
    if not joined.endswith(".experts"):
        yield name, shape
        return
    parts = ("gate_proj", "up_proj") if part == "gate_up_proj" else ("down_proj",)
    for number in range(shape[0]):
        for one in parts:
            yield f"{joined}.{number}.{one}.weight", (shape[1] // len(parts), shape[2])


def write(folder: Path, config: Any, specs: Sequence[Spec], dtype: torch.dtype, shards: int = 1) -> None:
    """Write configuration and weights. As the hub's files do, shards follow the order of the names."""
    config.save_pretrained(folder)
    pool = numpy.random.default_rng(SEED).standard_normal(_POOL, dtype=numpy.float32) * _SPREAD
    random = torch.from_numpy(pool).to(dtype)
    groups = [list(group) for group in numpy.array_split(numpy.arange(len(specs)), shards)]
    ordered = sorted(specs) if shards > 1 else list(specs)
    weight_map = {}
    for number, group in enumerate(groups, 1):
        name = "model.safetensors" if shards == 1 else f"model-{number:05}-of-{shards:05}.safetensors"
        members = [ordered[int(index)] for index in group]
        weight_map |= dict.fromkeys((spec[0] for spec in members), name)
        _write_file(folder / name, members, random)
    if shards > 1:
        size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
        index = {"metadata": {"total_size": size}, "weight_map": weight_map}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _write_file(path: Path, specs: Sequence[Spec], random: torch.Tensor) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    position = 0
    for name, shape in specs:
        end = position + int(numpy.prod(shape)) * random.itemsize
        header[name] = {"dtype": _NAMES[random.dtype], "shape": shape, "data_offsets": [position, end]}
        position = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb", buffering=0) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for number, (name, shape) in enumerate(specs):
            for piece in _pieces(name, int(numpy.prod(shape)), number, random):
                file.write(piece.view(torch.uint8).numpy().data)


def _pieces(name: str, count: int, number: int, random: torch.Tensor) -> Iterator[torch.Tensor]:
    if name.endswith("norm.weight"):
        yield torch.ones(count, dtype=random.dtype)
        return
    begin = number * 7919 % _POOL
    while count:
        piece = random[begin : begin + count]
        yield piece
        begin, count = 0, count - len(piece)


_FLOAT32 = {
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "num_hidden_layers": 10,
    "num_attention_heads": 16,
}
_EXPERTS = {
    "hidden_size": 1024,
    "intermediate_size": 2048,
    "moe_intermediate_size": 512,
    "num_hidden_layers": 12,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "num_experts": 16,
    "num_experts_per_tok": 4,
    "head_dim": 64,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
}
_FLOAT32_COUNT = 10 * (4 * 1024**2 + 3 * 1024 * 2816 + 2 * 1024) + 1024 + 2 * 259 * 1024
_EXPERTS_COUNT = 12 * 16 * 3 * 1024 * 512

SMALL = Fixture("demo/random-0.1gb", "0.1 GB", _demo("random-0.1gb"))
LARGE = Fixture("demo/random-2gb", "2 GB", _demo("random-2gb"))
TOKENS = Fixture("bench/tokens-128k", "128,000 tokens", _tokens)
FLOAT32 = Fixture("bench/float32", "float32 to bfloat16", _float32, converted=2 * _FLOAT32_COUNT)
EXPERTS = Fixture("bench/experts", "mixture of experts", write_experts, converted=2 * _EXPERTS_COUNT)
SHARDS = Fixture("bench/shards-40", "40 shards", _shards)
