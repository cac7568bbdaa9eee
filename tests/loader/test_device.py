"""Step 7: tensors are moved to the device. torch's meta device stands in for one that is not the CPU."""

from __future__ import annotations

import torch

from modelhub.checkpoints import Checkpoint
from modelhub.loader.background import Cancel
from modelhub.loader.device import Move, size_bytes


def _model() -> torch.nn.Module:
    model = torch.nn.Sequential(torch.nn.Embedding(10, 4), torch.nn.Linear(4, 10), torch.nn.BatchNorm1d(10))
    model[1].weight = model[0].weight
    return model


def test_the_cpu_has_nothing_to_move() -> None:
    model = _model()
    before = {name: tensor.data_ptr() for name, tensor in model.state_dict().items()}
    waited: list[str] = []
    move = Move(model, torch.device("cpu"))
    move.run(waited.extend, Cancel())
    at_end = move.checkpoint()
    assert at_end.done == at_end.size == size_bytes(model)
    assert "nothing to move" in str(at_end.detail)
    assert waited == []
    assert {name: tensor.data_ptr() for name, tensor in model.state_dict().items()} == before


def test_every_tensor_moves_once_and_tied_ones_stay_tied() -> None:
    model = _model()
    size = size_bytes(model)
    assert size == 4 * (40 + 10) + 4 * 4 * 10 + 8
    move = Move(model, torch.device("meta"))
    move.run(lambda names: None, Cancel())
    at_end = move.checkpoint()
    assert (at_end.done, at_end.size, at_end.unit) == (size, size, "bytes")
    assert {tensor.device.type for tensor in model.state_dict().values()} == {"meta"}
    assert model[0].weight is model[1].weight
    assert isinstance(model[0].weight, torch.nn.Parameter)
    assert len(list(model.parameters())) == 4


def test_each_tensor_waits_for_its_own_bytes_only() -> None:
    """So a device fills while the disk is still being read, and counts what has arrived."""
    model = _model()
    move = Move(model, torch.device("meta"))
    seen: list[tuple[list[str], Checkpoint]] = []
    move.run(lambda names: seen.append((names, move.checkpoint())), Cancel())
    assert [names for names, _ in seen][:2] == [["0.weight"], ["1.bias"]]
    assert [at.done for _, at in seen][:3] == [0, 160, 200]
