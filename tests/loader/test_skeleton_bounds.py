"""A model may have parts that its files lack, but not ten thousand of them."""

from __future__ import annotations

import pytest
import torch

from modelhub.errors import ModelhubError
from modelhub.loader.skeleton_bounds import bounded_tensors, check_buffers


def _build(parts: int) -> torch.nn.Module:
    with torch.device("meta"):
        return torch.nn.ModuleList(torch.nn.Linear(2, 2, bias=False) for _ in range(parts))


def test_a_model_with_far_more_tensors_than_its_files_is_not_built_to_its_end() -> None:
    with bounded_tensors("org/name", 5):
        _build(10_050)
    with (
        pytest.raises(ModelhubError, match="more than 10050 tensors") as caught,
        bounded_tensors("org/name", 5),
    ):
        _build(10_051)
    assert caught.value.code == "bad_config"
    _build(10_051)  # outside it nothing is counted


def test_tables_may_be_larger_than_the_weights_by_the_masks_of_a_large_model() -> None:
    model = torch.nn.Module()
    model.register_buffer("mask", torch.empty(2**28 + 200, dtype=torch.bool, device="meta"))
    check_buffers("org/name", model, 100)
    with pytest.raises(ModelhubError) as caught:
        check_buffers("org/name", model, 99)
    assert caught.value.code == "bad_config"
