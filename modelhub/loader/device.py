"""Step 7: the weights to the device, tensor by tensor, with a count of bytes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator
from typing import Any

import torch

from modelhub.checkpoints import Checkpoint, checkpoint
from modelhub.loader import background
from modelhub.loader.cuda_copy import CudaTransport, Lane

log = logging.getLogger(__name__)
STEP = 7


def tensors(model: torch.nn.Module) -> Iterator[tuple[torch.nn.Module, str, torch.Tensor]]:
    """Every parameter and buffer with the module and name it hangs on; tied ones come once per place."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            yield module, name, parameter
        for name, buffer in module.named_buffers(recurse=False, remove_duplicate=False):
            yield module, name, buffer


def size_bytes(model: torch.nn.Module) -> int:
    """The bytes of all parameters and buffers, tied ones counted once."""
    unique = {id(tensor): tensor for _, _, tensor in tensors(model)}
    return sum(tensor.nbytes for tensor in unique.values())


def move(model: Any, device: torch.device) -> Generator[Checkpoint, None, None]:
    """Put ``model`` on ``device``; yields the bytes that have arrived there.

    Raises torch.OutOfMemoryError where it does not fit.
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
    """A byte is counted when it has arrived. Tied tensors stay tied."""

    def arrived(size: int) -> None:
        moved[0] += size

    lane = _lane(device, arrived)
    there: dict[int, torch.Tensor] = {}
    kept = []  # ids stay unique only while the tensors live
    for module, name, tensor in list(tensors(model)):
        cancel.check()
        if id(tensor) not in there:
            if lane is None:
                copy: torch.Tensor = tensor.detach().to(device)
                arrived(tensor.nbytes)
            else:
                copy = lane.bring(tensor.detach())
            if isinstance(tensor, torch.nn.Parameter):
                copy = torch.nn.Parameter(copy, requires_grad=tensor.requires_grad)
            there[id(tensor)] = copy
            kept.append(tensor)
        setattr(module, name, there[id(tensor)])
    if lane is not None:
        lane.finish()


def _lane(device: torch.device, arrived: Callable[[int], None]) -> Lane | None:
    """The quick way to the device, where there is one."""
    if device.type != "cuda":
        return None
    try:
        return Lane(device, CudaTransport(device), arrived)
    except RuntimeError as error:  # no memory can be pinned
        log.warning("The weights go to %s without pinned memory: %s", device, error)
        return None
