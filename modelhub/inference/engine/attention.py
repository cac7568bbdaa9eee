"""Attention over rows of different lengths that are packed one behind the other: no padding and no copies."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from modelhub.inference.engine.packed_cache import PackedStates

NAME = "modelhub_packed"
_BLOCK_TOKENS = 128


def register() -> None:
    """Make the implementation known to transformers by ``NAME``; for any other cache it is ``sdpa``."""
    AttentionInterface.register(NAME, _attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: Any,
    value: Any,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    if not isinstance(key, PackedStates):
        result: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **others
        )
        return result
    _refuse_unknown(others)
    begin = 0
    outputs = []
    for (keys, values), (_, tokens) in zip(key.parts, key.packing.rows, strict=True):
        part = query[:, :, begin : begin + tokens]
        begin += tokens
        outputs.append(_one_row(part, keys, values, scaling, key))
    return (outputs[0] if len(outputs) == 1 else torch.cat(outputs, 1)), None


def _refuse_unknown(others: dict[str, Any]) -> None:
    """Raise NotImplementedError for what would change the scores and is not known here."""
    for name in ("softcap", "position_bias", "s_aux", "sinks"):
        if others.get(name) is not None:
            raise NotImplementedError(name)


def _one_row(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    scaling: float | None,
    states: PackedStates,
) -> torch.Tensor:
    """``[1, tokens, heads, size]``. Heads that share keys are rows of one product, or see views of them."""
    _, heads, tokens, size = query.shape
    shared, length = keys.shape[1], keys.shape[2]
    groups = heads // shared
    window = states.window if states.window is not None and states.window < length else None
    if tokens == 1:
        if window is not None:
            keys, values = keys[:, :, -window:], values[:, :, -window:]
        together = query.reshape(1, shared, groups, size)
        output = scaled_dot_product_attention(together, keys, values, scale=scaling)
        return output.reshape(1, 1, heads, -1)
    if (
        window is None
        and tokens >= _BLOCK_TOKENS // 2
        and query.dtype == torch.bfloat16
        and not query.is_cuda
    ):
        scale = size**-0.5 if scaling is None else scaling
        return _in_blocks(query[0] * scale, keys[0], values[0])
    is_whole = length == tokens and window is None
    output = scaled_dot_product_attention(
        query.reshape(shared, groups, tokens, size),
        keys.transpose(0, 1).expand(-1, groups, -1, -1),
        values.transpose(0, 1).expand(-1, groups, -1, -1),
        attn_mask=None if is_whole else states.packing.mask(tokens, length, window, query),
        is_causal=is_whole,
        scale=scaling,
    )
    return output.permute(2, 0, 1, 3).reshape(1, tokens, heads, -1)


def _in_blocks(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Attention of a long prompt in bfloat16, by products of oneDNN: in half the time of torch's kernel.

    The query ``[heads, tokens, size]``, already scaled, is taken in blocks, and each sees the keys
    ``[shared heads, length, size]`` up to its own end. Scores are rounded to bfloat16, as in the eager
    attention of transformers.
    """
    heads, tokens, size = query.shape
    shared, length, _ = keys.shape
    groups = heads // shared
    query = query.reshape(shared, groups, tokens, size)
    keys = keys.transpose(1, 2)
    output = query.new_empty((tokens, heads, values.shape[2]))
    for begin in range(0, tokens, _BLOCK_TOKENS):
        end = min(begin + _BLOCK_TOKENS, tokens)
        count, seen = end - begin, length - tokens + end
        block = query[:, :, begin:end].reshape(shared, groups * count, size)
        scores = torch.matmul(block, keys[:, :, :seen])
        later = torch.full((count, count), -torch.inf, dtype=scores.dtype).triu_(1)
        scores.view(shared, groups, count, seen)[..., seen - count :] += later
        result = torch.matmul(scores.softmax(-1), values[:, :seen])
        output[begin:end] = result.view(heads, count, -1).transpose(0, 1)
    return output[None]
