"""The lane to a device: pieces, buffers used again only when free, bytes counted when they have arrived."""

from __future__ import annotations

import pytest
import torch

from modelhub.loader.cuda_copy import CudaTransport, Lane

CPU = torch.device("cpu")


class Slow:
    """A transport that copies only when somebody waits: a buffer filled too early would show in the copy."""

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
    lane = Lane(CPU, transport, arrived.append, piece_bytes)
    copies = {name: lane.bring(tensor) for name, tensor in TENSORS.items()}
    lane.finish()
    for name, tensor in TENSORS.items():
        assert torch.equal(copies[name], tensor)
        assert copies[name].dtype == tensor.dtype
    assert max(transport.sent) <= piece_bytes
    assert sum(arrived) == sum(tensor.nbytes for tensor in TENSORS.values())


def test_a_byte_counts_only_when_it_has_arrived() -> None:
    arrived: list[int] = []
    lane = Lane(CPU, Slow(), arrived.append, 100)
    lane.bring(torch.zeros(250, dtype=torch.uint8))
    assert arrived == [100], "two pieces are under way"
    lane.finish()
    assert sum(arrived) == 250


if torch.cuda.is_available():  # where there is none it is not run, which README says

    def test_a_real_device_gets_the_same() -> None:
        lane = Lane(torch.device("cuda"), CudaTransport(torch.device("cuda")), lambda size: None, 1000)
        copies = {name: lane.bring(tensor) for name, tensor in TENSORS.items()}
        lane.finish()
        assert all(torch.equal(copies[name].cpu(), tensor) for name, tensor in TENSORS.items())
