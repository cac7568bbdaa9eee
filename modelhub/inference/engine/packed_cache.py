"""The keys and values of several answers, each in memory of its own, behind one cache of transformers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin

_FEWEST = 64  # tokens that a cache has room for


class RowCache:
    """The keys and values of one answer: ``ids`` are the tokens that all layers have.

    The memory of a layer is ``[1, heads, room, size]`` and doubles when it is full; what has not been written
    takes no memory yet.
    """

    __slots__ = ("ids", "keys", "values")

    def __init__(self, layers: int) -> None:
        self.ids: list[int] = []
        self.keys: list[torch.Tensor | None] = [None] * layers
        self.values: list[torch.Tensor | None] = [None] * layers

    @property
    def nbytes(self) -> int:
        """The bytes of the tokens in it."""
        both = (one for one in (*self.keys, *self.values) if one is not None)
        return sum(one.nbytes // one.shape[2] for one in both) * len(self.ids)

    def copy_of(self, length: int) -> RowCache:
        """Another cache with the first ``length`` tokens of this one."""
        other = RowCache(len(self.keys))
        other.ids = self.ids[:length]
        for mine, its in ((self.keys, other.keys), (self.values, other.values)):
            its[:] = [None if one is None else _with_room(one, length, length + 1) for one in mine]
        return other

    def write(
        self, layer: int, keys: torch.Tensor, values: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write those of the next tokens behind ``ids``; returns views of all up to them."""
        begin = len(self.ids)
        end = begin + keys.shape[2]
        return (
            _written(self.keys, layer, keys, begin, end),
            _written(self.values, layer, values, begin, end),
        )


def _written(
    buffers: list[torch.Tensor | None], layer: int, new: torch.Tensor, begin: int, end: int
) -> torch.Tensor:
    buffer = buffers[layer]
    if buffer is None:
        buffer = buffers[layer] = _with_room(new[:, :, :0], 0, end)
    elif buffer.shape[2] < end:
        buffer = buffers[layer] = _with_room(buffer, begin, end)
    buffer[:, :, begin:end].copy_(new)
    return buffer[:, :, :end]


def _with_room(old: torch.Tensor, length: int, least: int) -> torch.Tensor:
    """A copy of the first ``length`` tokens, with room for the next power of two."""
    room = max(_FEWEST, 1 << (least - 1).bit_length())
    new = old.new_empty((old.shape[0], old.shape[1], room, old.shape[3]))
    new[:, :, :length].copy_(old[:, :, :length])
    return new


class Packing:
    """What one pass is fed: the tokens of several rows, one behind the other, each row with its own cache.

    ``check`` is called in each layer and may raise to abandon the pass; ``ids`` of the caches do not change
    in a pass, so it can be repeated.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self.rows: Sequence[tuple[RowCache, int]] = ()  # and how many tokens of each
        self.check = check
        self._masks: dict[tuple[int, int, int | None], torch.Tensor] = {}

    def begin(self, rows: Sequence[tuple[RowCache, int]]) -> None:
        """The next pass has these rows."""
        self.rows = rows
        self._masks.clear()

    def mask(self, tokens: int, length: int, window: int | None, like: torch.Tensor) -> torch.Tensor:
        """What ``tokens`` see of ``length`` ones, of which they are the last: added to the scores."""
        key = tokens, length, window
        found = self._masks.get(key)
        if found is None:
            sees = torch.ones((tokens, length), dtype=torch.bool, device=like.device).tril(length - tokens)
            if window is not None:
                sees = sees.triu(length - tokens - window + 1)
            hidden = torch.full((tokens, length), -torch.inf, dtype=like.dtype, device=like.device)
            found = self._masks[key] = hidden.masked_fill_(sees, 0)
        return found


class PackedStates:
    """What the attention gets in place of keys and of values: those of each row, and the rows.

    ``window`` is how many of the last tokens each one sees; None: all.
    """

    __slots__ = ("packing", "parts", "window")

    def __init__(
        self, packing: Packing, parts: list[tuple[torch.Tensor, torch.Tensor]], window: int | None
    ) -> None:
        self.packing = packing
        self.parts = parts
        self.window = window


def packed_cache(packing: Packing, windows: Sequence[int | None]) -> Cache:
    """A cache for models of transformers that writes to those of the rows; ``windows`` of its layers."""
    return Cache(layers=[_Layer(packing, layer, window) for layer, window in enumerate(windows)])


class _Layer(CacheLayerMixin):  # type: ignore[misc]
    is_sliding = False

    def __init__(self, packing: Packing, layer: int, window: int | None) -> None:
        super().__init__()
        self._packing = packing
        self._layer = layer
        self._window = window

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[Any, Any]:
        packing = self._packing
        packing.check()
        begin = 0
        parts = []
        for cache, tokens in packing.rows:
            keys = key_states[:, :, begin : begin + tokens]
            values = value_states[:, :, begin : begin + tokens]
            parts.append(cache.write(self._layer, keys, values))
            begin += tokens
        states = PackedStates(packing, parts, self._window)
        return states, states

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Nothing to do: the caches of the rows make room when they are written to."""

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return query_length, 0

    def get_seq_length(self) -> int:
        return 0

    def get_max_length(self) -> int:
        return -1
