"""The layers of a model: which tensors each part waits for, and how many have run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch


def layers_of(model: torch.nn.Module) -> list[torch.nn.Module]:
    """The modules that transformers calls layers or blocks: what the outermost lists of modules hold."""
    found: list[torch.nn.Module] = []
    lists: list[str] = []
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.ModuleList) and not any(name.startswith(above) for above in lists):
            lists.append(f"{name}.")
            found += [child for child in module if next(child.parameters(), None) is not None]
    return found


class LayerCount:
    """How many of a model's layers have run; a layer that runs twice counts once."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._layers = layers_of(model)
        self._run: set[int] = set()
        self.total = len(self._layers)

    @property
    def done(self) -> int:
        """The layers that have run."""
        return len(self._run)

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count while the context lasts."""
        with ExitStack() as hooks:
            for layer in self._layers:
                hooks.callback(layer.register_forward_hook(self._count).remove)
            yield

    def _count(self, layer: torch.nn.Module, *_: Any) -> None:
        self._run.add(id(layer))


@contextmanager
def waiting(model: Any, wait: Callable[[list[str]], None]) -> Iterator[None]:
    """A context in which each module calls ``wait`` with the names of its own tensors before it runs.

    The first time only. A tensor that is tied to another one has the name of that one too.
    """
    tied = getattr(model, "all_tied_weights_keys", None) or {}
    with ExitStack() as hooks:
        for prefix, module in model.named_modules():
            own = own_names(prefix, module, tied)
            if own:
                hooks.callback(module.register_forward_pre_hook(_waiter(own, wait)).remove)
        yield


def own_names(prefix: str, module: torch.nn.Module, tied: dict[str, str]) -> list[str]:
    """The full names of a module's own parameters and buffers, and of those that they are tied to."""
    places = [*module._parameters, *module._buffers]
    names = (f"{prefix}.{name}" if prefix else name for name in places)
    return [either for name in names for either in with_tied(name, tied)]


def with_tied(name: str, tied: dict[str, str]) -> list[str]:
    """The name of a tensor, and that of the tensor that it is tied to."""
    return [name, tied[name]] if name in tied else [name]


def _waiter(names: list[str], wait: Callable[[list[str]], None]) -> Callable[..., None]:
    left = [names]

    def hook(*_: Any) -> None:
        if left:
            wait(left.pop())

    return hook
