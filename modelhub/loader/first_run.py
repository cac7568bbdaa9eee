"""Steps 7 to 9 while step 5 still reads: each part moves or runs as soon as its own bytes are in memory."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import nullcontext
from typing import Any

from modelhub.checkpoints import Checkpoint, LoadSpec, checkpoint
from modelhub.loader.background import Cancel, Helper
from modelhub.loader.device import Move
from modelhub.loader.finishing import is_usable, prepare_for_inference
from modelhub.loader.forward import run_forward
from modelhub.loader.layers import LayerCount, waiting
from modelhub.loader.one_token import feed_one_token_quickly
from modelhub.loader.reading.reading import Reading
from modelhub.loader.strategy import Plan
from modelhub.loader.weights import Assembled

FORWARD_STEP = 9


class FirstRun:
    """Moves an assembled model to its device and runs it once, in a thread of its own.

    ``start`` may be called while the weights are still being read. The generators yield the checkpoints of
    their steps, and raise what has gone wrong in them.
    """

    def __init__(
        self,
        spec: LoadSpec,
        plan: Plan,
        reading: Reading,
        processor: Any,
        inputs: dict[str, Any] | None = None,
    ) -> None:
        self._spec = spec
        self._plan = plan
        self._reading = reading
        self._processor = processor
        self._inputs = inputs
        self._moved = threading.Event()
        self._helper = Helper(self._run)
        self._assembled: Assembled
        self._move: Move
        self._layers: LayerCount

    def start(self, assembled: Assembled) -> None:
        """Begin, unless ``finishing.verify`` will refuse the model."""
        if not is_usable(assembled):
            return
        prepare_for_inference(assembled.model)
        self._assembled = assembled
        self._move = Move(assembled.model, self._plan.device)
        self._layers = LayerCount(assembled.model)
        self._helper.start()

    def moved(self) -> Generator[Checkpoint, None, None]:
        """Wait for the move: the bytes that have arrived on the device."""
        yield from self._helper.follow(self._move.checkpoint, self._moved)

    def passed(self) -> Generator[Checkpoint, None, None]:
        """Wait for the forward pass: the layers that have run. Raises ``forward_failed``."""
        yield from self._helper.follow(self._describe)

    def close(self) -> None:
        """Stop; waits for the thread."""
        self._helper.close()

    def _describe(self) -> Checkpoint:
        done, total = self._layers.done, self._layers.total
        if not total:
            return checkpoint(FORWARD_STEP, detail="running a first forward pass")
        return checkpoint(FORWARD_STEP, done, total, "layers", "running a first forward pass")

    def _run(self, cancel: Cancel) -> None:
        model = self._assembled.model

        def wait(names: list[str]) -> None:
            self._reading.wait_for_tensors(names, cancel)

        if not self._assembled.mapped:
            self._reading.wait(cancel)
        self._move.run(wait, cancel)
        self._moved.set()
        if not self._spec.exact:
            feed_one_token_quickly(model)
        waits = nullcontext() if self._reading.is_complete() else waiting(model, wait)
        with self._layers.counting(), waits:
            run_forward(self._spec.model_id, model, self._processor, self._inputs)
        self._reading.wait(cancel)
