"""The models and processes of a server without its transport, for tests of what holds between them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from modelhub.config import read_settings
from modelhub.core.generations import Generation
from modelhub.core.load import Load
from modelhub.core.registry import Registry
from modelhub.errors import ModelhubError
from modelhub.generation import Frame
from modelhub.states import ACTIVE, ENDED_EARLY, EventName, State
from modelhub.workers.machine import Machines
from tests.support.server import wait_until

STORY, ENDLESS = "tiny/story", "tiny/endless"  # see ``chat_models``


class WithoutServer:
    """A registry without a server; threads are those of Python. ``machines``: None is this one."""

    def __init__(self, folder: Path, machines: Machines | None = None, **settings: Any) -> None:
        (folder / "data").mkdir(parents=True)
        given = {"DATA_DIR": folder / "data", "KEEP_PREPARED_SECONDS": 0, "DEVICE": "cpu", **settings}
        read = read_settings({f"MODELHUB_{name}": str(value) for name, value in given.items()}, {})
        self.events: list[tuple[EventName, dict[str, Any]]] = []
        self._held: dict[str, threading.Event] = {}
        self.registry = Registry(read, self._spawn, self._keep, machines)
        admission = self.registry.lifecycle._thread._admission
        admit = admission.admit

        def admit_later(load: Load, *more: Any) -> None:
            if (may_go_on := self._held.get(load.model_id)) is not None:
                assert may_go_on.wait(60)
            admit(load, *more)

        admission.admit = admit_later  # type: ignore[method-assign]

    def _spawn(self, work: Callable[..., None], *args: Any) -> None:
        threading.Thread(target=work, args=args, daemon=True).start()

    def _keep(self, name: EventName, payload: Any, rooms: list[str]) -> None:
        self.events.append((name, payload))

    def load_of(self, model_id: str) -> Load:
        """The latest load of a model."""
        return self.registry.lifecycle._loads.latest[model_id]

    def clear(self) -> None:
        """Have every model leave memory, and forget how its load ended."""
        lifecycle = self.registry.lifecycle
        for load in lifecycle._loads.all():
            with suppress(ModelhubError):
                if load.state in ACTIVE:
                    lifecycle.cancel(load.load_id, by="page")
                if load.state == State.READY:
                    lifecycle.unload(load.model_id, by="page")
            wait_until(load.process_exited.is_set)
            if load.state in ENDED_EARLY:
                self.registry.dismiss(load.model_id)
        self.events.clear()

    def close(self) -> None:
        """End all processes."""
        self.registry.close()


class House(WithoutServer):
    """One with two chat models, of which one never ends an answer."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        from tests.support.chat_models import make_story

        make_story(folder / "models" / STORY)
        make_story(folder / "models" / ENDLESS, is_endless=True)
        super().__init__(folder, **{"MODELS_DIR": folder / "models", **settings})

    @contextmanager
    def held_load(self, model_id: str) -> Iterator[str]:
        """A context in which a model loads and does not come to its end; the id of the load."""
        self._held[model_id] = threading.Event()
        try:
            load, _ = self.registry.lifecycle.start(model_id, by="page")
            yield load["load_id"]
        finally:
            self._held.pop(model_id).set()

    def write(
        self, model_id: str, keep_s: float | None = None, tokens: int = 8000, prompt: str = "x"
    ) -> Generation:
        """Have a model that is in memory write text."""
        request: Any = {"prompt": prompt, "sampling": {"max_new_tokens": tokens, "temperature": 0.0}}
        return self.registry.generations.start(model_id, request, keep_s=keep_s)

    def begin(self, model_id: str, keep_s: float | None = None) -> tuple[Generation, Iterator[Frame | None]]:
        """The same, and wait for its first words; its frames, which end it when they are dropped."""
        generation = self.write(model_id, keep_s)
        frames = generation.frames()
        next(frames)
        return generation, frames

    def text(self, generation: Generation) -> str:
        """All that is written."""
        return "".join(frame.get("text", "") for frame in generation.frames() if frame is not None)
