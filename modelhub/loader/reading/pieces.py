"""The pieces that weight files are read in, in the order in which a forward pass needs them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from modelhub.loader.files.opening import WeightFile

_NUMBERS = re.compile(r"(\d+)")
# What runs first and last, as the models of transformers call it. A name that is in neither is between, in
# natural order: a wrong guess costs time only, since whoever needs a piece waits for it.
_FIRST = re.compile(r"embed|wte|wpe|word_emb|patch|^shared|conv_in|feature_extractor")
_SECOND = re.compile(r"encoder|vision|visual")
_LAST = re.compile(
    r"lm_head|embed_out|(^|\.)(classifier|score|qa_outputs|cls|logits\w*|pooler|head)\.|"
    r"^((?:\w+\.)?(?:final_)?(?:layer_?norm|norm|ln_f|f_norm)\w*)\.(?:weight|bias)$"
)


class Piece(NamedTuple):
    """``length`` bytes from ``offset`` of the file with that number."""

    file: int
    offset: int
    length: int


def forward_order(name: str) -> tuple[int, list[str | int], str]:
    """A key that sorts names of tensors by when a forward pass is likely to need them.

    In the files ``layers.10`` stands before ``layers.2``; here it comes after ``layers.9``.
    """
    # Text and numbers take turns, so that text is compared with text.
    natural = [int(part) if place % 2 else part for place, part in enumerate(_NUMBERS.split(name))]
    in_layer = len(natural) > 1
    is_second = _SECOND.search(name) is not None  # also its last norm, which the decoder waits for
    if _LAST.search(name) and not in_layer and not is_second:
        rank = 3
    elif _FIRST.search(name) and not in_layer:
        rank = 0
    else:
        rank = 1 if is_second else 2
    return rank, natural, name


class Cut:
    """The weight files cut into ``pieces``, up to ``limit`` bytes: those that are needed first in front."""

    def __init__(self, weights: Sequence[WeightFile], limit: int, piece_bytes: int) -> None:
        self._piece_bytes = piece_bytes
        self._ranges = {
            tensor.name: (file, begin, end)
            for file, weight in enumerate(weights)
            for tensor, begin, end in weight.placed()
            if end > begin
        }
        self.pieces = _sized(weights, self._order(weights), piece_bytes, limit)
        self._numbers = {(piece.file, piece.offset): number for number, piece in enumerate(self.pieces)}

    def holding(self, names: Iterable[str]) -> list[int]:
        """The numbers of the pieces with the tensors of these names; none for a name that no file has."""
        places = (place for name in names for place in self._places(name))
        return list(dict.fromkeys(self._numbers[place] for place in places if place in self._numbers))

    def _places(self, name: str) -> list[tuple[int, int]]:
        file, begin, end = self._ranges.get(name, (0, 0, 0))
        return [(file, offset) for offset in range(begin - begin % self._piece_bytes, end, self._piece_bytes)]

    def _order(self, weights: Sequence[WeightFile]) -> Iterable[tuple[int, int]]:
        order: dict[tuple[int, int], None] = {}
        for name in sorted(self._ranges, key=forward_order):
            order.update(dict.fromkeys(self._places(name)))
        # What is left has no tensors: long headers.
        for file, weight in enumerate(weights):
            order.update(dict.fromkeys((file, offset) for offset in range(0, weight.size, self._piece_bytes)))
        return order


def _sized(
    weights: Sequence[WeightFile], places: Iterable[tuple[int, int]], piece_bytes: int, limit: int
) -> list[Piece]:
    pieces, left = [], limit
    for file, offset in places:
        length = min(piece_bytes, weights[file].size - offset, left)
        if length > 0:
            pieces.append(Piece(file, offset, length))
            left -= length
    return pieces
