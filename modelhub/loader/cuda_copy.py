"""The way to a CUDA device: through pinned memory, one piece under way while the next one is brought.

Not run so far: no machine that this was written on has such a device. ``Lane`` itself knows no CUDA, and is
tested over a transport that copies as late as it may.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch

PIECE_BYTES = 32 * 2**20
_SLOTS = 2


class Transport(Protocol):
    """Buffers to copy from, and copies that go on while the caller does other things."""

    def buffer(self, size: int) -> torch.Tensor:
        """``size`` bytes that copies are made from."""

    def send(self, buffer: torch.Tensor, target: torch.Tensor) -> Any:
        """Begin to copy; answers a ticket."""

    def wait(self, ticket: Any) -> None:
        """Until that copy has arrived."""


class CudaTransport:
    """Pinned buffers and a stream of its own."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def buffer(self, size: int) -> torch.Tensor:
        """Pinned memory; raises RuntimeError where there is none."""
        return torch.empty(size, dtype=torch.uint8, pin_memory=True)

    def send(self, buffer: torch.Tensor, target: torch.Tensor) -> torch.cuda.Event:
        """Copy behind what the device's own stream does just now: ``target`` may be memory it gave back."""
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            target.copy_(buffer, non_blocking=True)
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record(self._stream)
        return event

    def wait(self, ticket: torch.cuda.Event) -> None:
        """Until the copy has arrived."""
        ticket.synchronize()


class Lane:
    """Copies tensors to ``device`` in pieces; ``arrived(bytes)`` is called once a piece is there."""

    def __init__(
        self,
        device: torch.device,
        transport: Transport,
        arrived: Callable[[int], None],
        piece_bytes: int = PIECE_BYTES,
    ) -> None:
        self._device = device
        self._transport = transport
        self._arrived = arrived
        self._buffers = [transport.buffer(piece_bytes) for _ in range(_SLOTS)]
        self._under_way: list[tuple[Any, int] | None] = [None] * _SLOTS
        self._next = 0

    def bring(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor on the device, whole after ``finish``; ``tensor`` may be let go before."""
        there = torch.empty_like(tensor, device=self._device, memory_format=torch.contiguous_format)
        source, target = (one.reshape(-1).view(torch.uint8) for one in (tensor.contiguous(), there))
        for begin in range(0, source.numel(), self._buffers[0].numel()):
            piece = source[begin : begin + self._buffers[0].numel()]
            slot, self._next = self._next, (self._next + 1) % _SLOTS
            self._settle(slot)
            buffer = self._buffers[slot][: piece.numel()]
            buffer.copy_(piece)
            ticket = self._transport.send(buffer, target[begin : begin + piece.numel()])
            self._under_way[slot] = (ticket, piece.numel())
        return there

    def finish(self) -> None:
        """Until all has arrived."""
        for slot in range(_SLOTS):
            self._settle(slot)

    def _settle(self, slot: int) -> None:
        """Until what was sent from a buffer has arrived: then it may be filled again."""
        if (sent := self._under_way[slot]) is not None:
            ticket, size = sent
            self._transport.wait(ticket)
            self._under_way[slot] = None
            self._arrived(size)
