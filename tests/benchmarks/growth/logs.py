"""Memory that stays for each model that was ever asked for, once its load has ended."""

from __future__ import annotations

import gc
import random
import tracemalloc

from modelhub.checkpoints import STEPS
from modelhub.errors import ModelhubError
from modelhub.payloads import Facts, Snapshot
from modelhub.progress.adapter import ProgressAdapter
from modelhub.progress.logs import KEPT_MODELS
from modelhub.states import EventName
from tests.benchmarks.growth import Row
from tests.support.expecting import expecting

_FACTS: Facts = {
    **{"device": "cpu", "dtype": "bfloat16", "parameters": 8_030_261_248, "bytes": 16_060_522_496},
    **{"architecture": "LlamaForCausalLM", "task": "text-generation", "files": 4, "source": "cache"},
    **{"revision": "c1899de289a04d12100db370d81485cdf75e47ca", "attention": "sdpa"},
    **{"memory": 16_100_000_000, "unused_tensors": 0, "chats": True},
}


def measure() -> list[Row]:
    """Run short, failed and long loads through an adapter, and count what stays."""
    many = KEPT_MODELS + 500
    return [
        Row("log of a model whose load took a second, once ended", _kept_kb(10, 0.02), "kB", 30),
        Row("... whose load took ten minutes", _kept_kb(5, 1.3), "kB", 30),
        Row("... whose load failed at once", _kept_kb(200, None), "kB", 30),
        Row(
            f"logs of {many:,} models whose loads failed, all together",
            _kept_kb(many, None) * many / 1000,
            "MB",
            30,
        ),
    ]


def _kept_kb(models: int, tick_s: float | None) -> float:
    """kB for each of so many models: their loads come forward 450 times every ``tick_s``; None: they fail."""
    gc.collect()
    tracemalloc.start()
    clock = _Clock()
    adapter = ProgressAdapter(_send, clock=clock.time)
    for number in range(models):
        _load(adapter, clock, f"organization/model-{number}-8B-Instruct", tick_s)
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert adapter.known()
    return kept / models / 1000


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def time(self) -> float:
        return self.now


def _send(name: EventName, payload: Snapshot, rooms: list[str]) -> None:
    """Nobody listens."""


def _load(adapter: ProgressAdapter, clock: _Clock, model_id: str, tick_s: float | None) -> None:
    noise, size = random.Random(model_id), 16_060_522_496
    adapter.started(model_id, f"{noise.getrandbits(64):016x}", *expecting(size))
    if tick_s is None:
        adapter.failed(model_id, ModelhubError("no_memory", id=model_id, needed="141 GB", free="9.4 GB"))
        return
    for step in STEPS:
        done = 0
        for tick in range(50):
            clock.now += tick_s * noise.uniform(0.8, 1.2)
            if step.step in (3, 5, 7):
                done = min(size, done + int(size / 50 * noise.uniform(0.5, 1)))
                detail = f"model-{tick // 3:05}-of-00017.safetensors"
                adapter.emit_progress(model_id, step.step, step.message, done, size, "bytes", detail)
            else:
                adapter.emit_progress(model_id, step.step, step.message, detail=f"tensor {tick} of 50")
    adapter.completed(model_id, _FACTS)
