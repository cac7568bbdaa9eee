"""Copies tensors to a CUDA device through pinned memory: one piece is sent while the next one is filled.

``CudaTransport`` has never run: no machine that this was written on has a CUDA device. ``PinnedCopier`` does
not depend on CUDA, and is tested over a transport that copies as late as it may.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch

PIECE_BYTES = 32 * 2**20
_SLOTS = 2


class Transport(Protocol):
    """Provides buffers, and copies from them asynchronously."""

    def buffer(self, size: int) -> torch.Tensor:
        """A buffer of ``size`` bytes to copy from."""

    def send(self, buffer: torch.Tensor, target: torch.Tensor) -> Any:
        """Start to copy ``buffer`` to ``target``; returns a ticket for ``wait``."""

    def wait(self, ticket: Any) -> None:
        """Wait until that copy has finished."""


class CudaTransport:
    """Copies from pinned memory on a CUDA stream of its own. Never run: see the top of this module."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def buffer(self, size: int) -> torch.Tensor:
        """Pinned memory; raises RuntimeError if none can be pinned."""
        return torch.empty(size, dtype=torch.uint8, pin_memory=True)

    def send(self, buffer: torch.Tensor, target: torch.Tensor) -> torch.cuda.Event:
        """Start to copy; returns the event that the copy records when it has finished."""
        # Work that the current stream has queued may still use the memory that ``target`` was given.
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            target.copy_(buffer, non_blocking=True)
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record(self._stream)
        return event

    def wait(self, ticket: torch.cuda.Event) -> None:
        """Wait until the copy has finished."""
        ticket.synchronize()


class PinnedCopier:
    """Copies tensors to ``device`` in pieces; calls ``on_arrival(bytes)`` once a piece has arrived.

    Use it for many tensors in a row, then call ``finish``. Not thread-safe.
    """

    def __init__(
        self,
        device: torch.device,
        transport: Transport,
        on_arrival: Callable[[int], None],
        piece_bytes: int = PIECE_BYTES,
    ) -> None:
        self._device = device
        self._transport = transport
        self._on_arrival = on_arrival
        self._buffers = [transport.buffer(piece_bytes) for _ in range(_SLOTS)]
        self._in_flight: list[tuple[Any, int] | None] = [None] * _SLOTS
        self._next = 0

    def copy(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor on the device. It is complete after ``finish``; ``tensor`` may be freed before that."""
        result = torch.empty_like(tensor, device=self._device, memory_format=torch.contiguous_format)
        source, target = (one.reshape(-1).view(torch.uint8) for one in (tensor.contiguous(), result))
        for begin in range(0, source.numel(), self._buffers[0].numel()):
            piece = source[begin : begin + self._buffers[0].numel()]
            slot, self._next = self._next, (self._next + 1) % _SLOTS
            self._wait_slot(slot)
            buffer = self._buffers[slot][: piece.numel()]
            buffer.copy_(piece)
            ticket = self._transport.send(buffer, target[begin : begin + piece.numel()])
            self._in_flight[slot] = (ticket, piece.numel())
        return result

    def finish(self) -> None:
        """Wait until all pieces have arrived."""
        for slot in range(_SLOTS):
            self._wait_slot(slot)

    def _wait_slot(self, slot: int) -> None:
        """Wait until the piece in a buffer has arrived, so that the buffer can be filled again."""
        if (sent := self._in_flight[slot]) is not None:
            ticket, size = sent
            self._transport.wait(ticket)
            self._in_flight[slot] = None
            self._on_arrival(size)
