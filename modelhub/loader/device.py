"""Step 7: moves the weights to the device tensor by tensor, and counts the bytes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import torch

from modelhub.checkpoints import Checkpoint, checkpoint
from modelhub.loader import background
from modelhub.loader.cuda_copy import CudaTransport, PinnedCopier
from modelhub.loader.layers import with_tied

log = logging.getLogger(__name__)
STEP = 7


def tensors(model: torch.nn.Module) -> Iterator[tuple[torch.nn.Module, str, str, torch.Tensor]]:
    """Every parameter and buffer with its module, that module's name, and its name there.

    A tied one comes once for each module.
    """
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            yield module, prefix, name, parameter
        for name, buffer in module.named_buffers(recurse=False, remove_duplicate=False):
            yield module, prefix, name, buffer


def size_bytes(model: torch.nn.Module) -> int:
    """The bytes of all parameters and buffers; a tied one counts once."""
    unique = {id(tensor): tensor for *_, tensor in tensors(model)}
    return sum(tensor.nbytes for tensor in unique.values())


class Move:
    """Moves ``model`` to ``device``; ``moved`` counts the bytes that have arrived there."""

    def __init__(self, model: Any, device: torch.device) -> None:
        self._model = model
        self._device = device
        self._size = size_bytes(model)
        self.moved = self._size if device.type == "cpu" else 0

    def checkpoint(self) -> Checkpoint:
        """How far it is."""
        is_here = self._device.type == "cpu"
        detail = "nothing to move: the device is the CPU" if is_here else f"to {self._device}"
        return checkpoint(STEP, self.moved, self._size, "bytes", detail)

    def run(self, wait: Callable[[list[str]], None], cancel: background.Cancel) -> None:
        """Move the tensors; ``wait`` is called with the names of each one before it is touched.

        So a device fills while the disk is still being read. Tied tensors stay tied. Raises Cancelled, and
        torch.OutOfMemoryError if the model does not fit.
        """
        if self._device.type == "cpu":
            return
        copier = _pinned_copier(self._device, self._count)
        tied = getattr(self._model, "all_tied_weights_keys", None) or {}
        copies: dict[int, torch.Tensor] = {}
        kept = []  # ids stay unique only while the tensors live
        for module, prefix, name, tensor in list(tensors(self._model)):
            cancel.check()
            if id(tensor) not in copies:
                wait(with_tied(f"{prefix}.{name}" if prefix else name, tied))
                copies[id(tensor)] = self._copy(tensor, copier)
                kept.append(tensor)
            setattr(module, name, copies[id(tensor)])
        if copier is not None:
            copier.finish()

    def _copy(self, tensor: torch.Tensor, copier: PinnedCopier | None) -> torch.Tensor:
        if copier is None:
            copy: torch.Tensor = tensor.detach().to(self._device)
            self._count(tensor.nbytes)
        else:
            copy = copier.copy(tensor.detach())
        if isinstance(tensor, torch.nn.Parameter):
            copy = torch.nn.Parameter(copy, requires_grad=tensor.requires_grad)
        return copy

    def _count(self, size: int) -> None:
        self.moved += size


def _pinned_copier(device: torch.device, count: Callable[[int], None]) -> PinnedCopier | None:
    """A copier through pinned memory where the device has one, else None. Never run on a CUDA device."""
    if device.type != "cuda":
        return None
    try:
        return PinnedCopier(device, CudaTransport(device), count)
    except RuntimeError as error:  # no memory can be pinned
        log.warning("Copying the weights to %s without pinned memory: %s", device, error)
        return None
