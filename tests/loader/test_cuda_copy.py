"""Copying to a device: pieces, buffers reused only when free, bytes counted when they have arrived."""

from __future__ import annotations

import pytest
import torch

from modelhub.loader.cuda_copy import CudaTransport, PinnedCopier

CPU = torch.device("cpu")


class Slow:
    """A transport that copies only in ``wait``: a buffer that was refilled too early shows in the copy."""

    def __init__(self) -> None:
        self.sent: list[int] = []

    def buffer(self, size: int) -> torch.Tensor:
        return torch.empty(size, dtype=torch.uint8)

    def send(self, buffer: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.sent.append(buffer.numel())
        return buffer, target

    def wait(self, ticket: tuple[torch.Tensor, torch.Tensor]) -> None:
        ticket[1].copy_(ticket[0])


TENSORS = {
    "bfloat16": torch.arange(1000, dtype=torch.float32).to(torch.bfloat16).reshape(10, 100),
    "bool": torch.arange(77) % 3 == 0,
    "no dimension": torch.tensor(3.5, dtype=torch.float64),
    "empty": torch.empty(0, 4),
    "turned": torch.arange(600, dtype=torch.int32).reshape(20, 30).t(),
}


@pytest.mark.parametrize("piece_bytes", [16, 100, 10**6])
def test_what_arrives_is_what_was_sent(piece_bytes: int) -> None:
    arrived: list[int] = []
    transport = Slow()
    copier = PinnedCopier(CPU, transport, arrived.append, piece_bytes)
    copies = {name: copier.copy(tensor) for name, tensor in TENSORS.items()}
    copier.finish()
    for name, tensor in TENSORS.items():
        assert torch.equal(copies[name], tensor)
        assert copies[name].dtype == tensor.dtype
    assert max(transport.sent) <= piece_bytes
    assert sum(arrived) == sum(tensor.nbytes for tensor in TENSORS.values())


def test_a_byte_counts_only_when_it_has_arrived() -> None:
    arrived: list[int] = []
    copier = PinnedCopier(CPU, Slow(), arrived.append, 100)
    copier.copy(torch.zeros(250, dtype=torch.uint8))
    assert arrived == [100], "two pieces are in flight"
    copier.finish()
    assert sum(arrived) == 250


if torch.cuda.is_available():  # never run so far: no machine that this was written on has one

    def test_a_real_device_gets_the_same() -> None:
        copier = PinnedCopier(
            torch.device("cuda"), CudaTransport(torch.device("cuda")), lambda size: None, 1000
        )
        copies = {name: copier.copy(tensor) for name, tensor in TENSORS.items()}
        copier.finish()
        assert all(torch.equal(copies[name].cpu(), tensor) for name, tensor in TENSORS.items())
