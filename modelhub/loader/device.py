"""Step 7: moves the weights to the device tensor by tensor, and counts the bytes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator
from typing import Any

import torch

from modelhub.checkpoints import Checkpoint, checkpoint
from modelhub.loader import background
from modelhub.loader.cuda_copy import CudaTransport, PinnedCopier

log = logging.getLogger(__name__)
STEP = 7


def tensors(model: torch.nn.Module) -> Iterator[tuple[torch.nn.Module, str, torch.Tensor]]:
    """Every parameter and buffer with its module and its name there; a tied one once for each module."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            yield module, name, parameter
        for name, buffer in module.named_buffers(recurse=False, remove_duplicate=False):
            yield module, name, buffer


def size_bytes(model: torch.nn.Module) -> int:
    """The bytes of all parameters and buffers; a tied one counts once."""
    unique = {id(tensor): tensor for _, _, tensor in tensors(model)}
    return sum(tensor.nbytes for tensor in unique.values())


def move(model: Any, device: torch.device) -> Generator[Checkpoint, None, None]:
    """Move ``model`` to ``device``; yields the bytes that have arrived there.

    Raises torch.OutOfMemoryError if it does not fit.
    """
    total = size_bytes(model)
    if device.type == "cpu":
        yield checkpoint(STEP, total, total, "bytes", "nothing to move: the device is the CPU")
        return
    moved = [0]

    def work(cancel: background.Cancel) -> None:
        _move(model, device, moved, cancel)

    yield from background.run(work, lambda: checkpoint(STEP, moved[0], total, "bytes", f"to {device}"))


def _move(model: Any, device: torch.device, moved: list[int], cancel: background.Cancel) -> None:
    """Move the tensors; ``moved[0]`` counts the bytes that have arrived. Tied tensors stay tied."""

    def count(size: int) -> None:
        moved[0] += size

    copier = _pinned_copier(device, count)
    copies: dict[int, torch.Tensor] = {}
    kept = []  # ids stay unique only while the tensors live
    for module, name, tensor in list(tensors(model)):
        cancel.check()
        if id(tensor) not in copies:
            if copier is None:
                copy: torch.Tensor = tensor.detach().to(device)
                count(tensor.nbytes)
            else:
                copy = copier.copy(tensor.detach())
            if isinstance(tensor, torch.nn.Parameter):
                copy = torch.nn.Parameter(copy, requires_grad=tensor.requires_grad)
            copies[id(tensor)] = copy
            kept.append(tensor)
        setattr(module, name, copies[id(tensor)])
    if copier is not None:
        copier.finish()


def _pinned_copier(device: torch.device, count: Callable[[int], None]) -> PinnedCopier | None:
    """A copier through pinned memory where the device has one, else None. Never run on a CUDA device."""
    if device.type != "cuda":
        return None
    try:
        return PinnedCopier(device, CudaTransport(device), count)
    except RuntimeError as error:  # no memory can be pinned
        log.warning("Copying the weights to %s without pinned memory: %s", device, error)
        return None
