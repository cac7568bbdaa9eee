"""The pieces that weight files are cut into, and their order."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from modelhub.loader.files.headers import Tensor
from modelhub.loader.files.opening import WeightFile
from modelhub.loader.reading.pieces import Cut, forward_order

DECODER = [
    "model.embed_tokens.weight",
    *(f"model.layers.{number}.mlp.up_proj.weight" for number in range(12)),
    "lm_head.weight",
    "model.norm.weight",
]
ENCODER_DECODER = [
    "shared.weight",
    "encoder.block.0.layer.0.SelfAttention.q.weight",
    "encoder.block.2.layer.0.SelfAttention.q.weight",
    "encoder.block.10.layer.0.SelfAttention.q.weight",
    "encoder.final_layer_norm.weight",
    "decoder.block.0.layer.1.EncDecAttention.q.weight",
    "decoder.block.11.layer.1.EncDecAttention.q.weight",
    "decoder.final_layer_norm.weight",
    "lm_head.weight",
]


def weight_file(name: str, header: int, **sizes: int) -> WeightFile:
    """A weight file with tensors of these sizes after so many bytes of header."""
    tensors = tuple(Tensor(tensor, "U8", (size,), size) for tensor, size in sizes.items())
    return WeightFile(name, Path(name), header + sum(sizes.values()), tensors)


def test_a_decoder_is_read_in_the_order_of_its_layers() -> None:
    shuffled = list(DECODER)
    Random(3).shuffle(shuffled)
    assert sorted(shuffled, key=forward_order) == DECODER


def test_an_encoder_is_read_before_its_decoder() -> None:
    shuffled = list(ENCODER_DECODER)
    Random(5).shuffle(shuffled)
    found = sorted(shuffled, key=forward_order)
    assert found[:5] == ENCODER_DECODER[:5]
    assert found[5:7] == ENCODER_DECODER[5:7]
    assert set(found[7:]) == set(ENCODER_DECODER[7:])


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("transformer.wte.weight", "transformer.h.0.attn.c_attn.weight"),
        ("bert.embeddings.word_embeddings.weight", "bert.encoder.layer.0.output.dense.weight"),
        ("bert.encoder.layer.11.output.dense.weight", "bert.pooler.dense.weight"),
        ("bert.encoder.layer.2.output.dense.weight", "cls.predictions.decoder.weight"),
        ("gpt_neox.layers.2.input_layernorm.weight", "gpt_neox.layers.10.input_layernorm.weight"),
        ("gpt_neox.layers.10.input_layernorm.weight", "embed_out.weight"),
        ("transformer.h.10.ln_1.weight", "transformer.ln_f.weight"),
        ("model.vision_tower.layers.10.norm.weight", "model.language_model.layers.0.norm.weight"),
        ("model.layers.1.mlp.experts.9.w1.weight", "model.layers.1.mlp.experts.10.w1.weight"),
    ],
)
def test_what_runs_first_is_read_first(first: str, then: str) -> None:
    assert sorted([then, first], key=forward_order) == [first, then]


def test_any_printable_name_has_a_place() -> None:
    """The names are those of the file: digits that are no decimal ones are among what may come."""
    names = ["²", "layers.²", "layers.2", "2", "a", "layers.٣.x", "", "1.a", "²1"]
    assert sorted(sorted(names, key=forward_order)) == sorted(names)
    weights = [weight_file("a", 8, **dict.fromkeys(names[:3], 4))]
    assert len(Cut(weights, 100, 16).pieces) == 2


@pytest.mark.parametrize("limit", [0, 1, 25, 100, 115, 117, 10**6])
def test_the_pieces_cover_every_byte_once_up_to_the_limit(limit: int) -> None:
    weights = [weight_file("a", 33, late=40, embed=27), weight_file("b", 10, none=0, layer=7)]
    cut = Cut(weights, limit, 16)
    covered = [
        (piece.file, byte)
        for piece in cut.pieces
        for byte in range(piece.offset, piece.offset + piece.length)
    ]
    everything = {(file, byte) for file, weight in enumerate(weights) for byte in range(weight.size)}
    assert len(covered) == len(set(covered)) == min(limit, len(everything))
    assert set(covered) <= everything
    assert all(0 < piece.length <= 16 and piece.offset % 16 == 0 for piece in cut.pieces)


def test_what_is_needed_first_is_in_front() -> None:
    weights = [
        weight_file("a", 16, **{"model.layers.10.w": 16, "model.layers.2.w": 16}),
        weight_file("b", 16, **{"lm_head.weight": 16, "model.embed_tokens.weight": 16}),
    ]
    order = [(piece.file, piece.offset) for piece in Cut(weights, 10**6, 16).pieces]
    assert order == [(1, 32), (0, 32), (0, 16), (1, 16), (0, 0), (1, 0)]


def test_the_pieces_of_a_tensor() -> None:
    weights = [weight_file("a", 8, small=4, large=40, empty=0), weight_file("b", 8, other=8)]
    cut = Cut(weights, 10**6, 16)

    def places(*names: str) -> list[tuple[int, int]]:
        return sorted((cut.pieces[number].file, cut.pieces[number].offset) for number in cut.holding(names))

    assert places("small") == [(0, 0)]
    assert places("large") == [(0, 0), (0, 16), (0, 32), (0, 48)]
    assert places("other") == [(1, 0)]
    assert places("small", "large", "other") == [(0, 0), (0, 16), (0, 32), (0, 48), (1, 0)], "each once"
    assert cut.holding(["empty"]) == cut.holding(["unknown"]) == cut.holding([]) == []


def test_a_tensor_beyond_the_limit_has_no_piece_there() -> None:
    weights = [weight_file("a", 0, **{"layers.0.w": 32, "layers.1.w": 32})]
    cut = Cut(weights, 32, 16)
    assert len(cut.holding(["layers.0.w"])) == 2
    assert cut.holding(["layers.1.w"]) == [], "nobody would ever read it"
