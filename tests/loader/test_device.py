"""Step 7: tensors are moved to the device. torch's meta device stands in for one that is not the CPU."""

from __future__ import annotations

import torch

from modelhub.loader.device import move, size_bytes


def _model() -> torch.nn.Module:
    model = torch.nn.Sequential(torch.nn.Embedding(10, 4), torch.nn.Linear(4, 10), torch.nn.BatchNorm1d(10))
    model[1].weight = model[0].weight
    return model


def test_the_cpu_has_nothing_to_move() -> None:
    model = _model()
    before = {name: tensor.data_ptr() for name, tensor in model.state_dict().items()}
    (only,) = move(model, torch.device("cpu"))
    assert only.done == only.size == size_bytes(model)
    assert "nothing to move" in str(only.detail)
    assert {name: tensor.data_ptr() for name, tensor in model.state_dict().items()} == before


def test_every_tensor_moves_once_and_tied_ones_stay_tied() -> None:
    model = _model()
    size = size_bytes(model)
    assert size == 4 * (40 + 10) + 4 * 4 * 10 + 8
    checkpoints = list(move(model, torch.device("meta")))
    assert (checkpoints[-1].done, checkpoints[-1].size, checkpoints[-1].unit) == (size, size, "bytes")
    assert {tensor.device.type for tensor in model.state_dict().values()} == {"meta"}
    assert model[0].weight is model[1].weight
    assert isinstance(model[0].weight, torch.nn.Parameter)
    assert len(list(model.parameters())) == 4
