"""Work whose result comes in one piece: loads the model where it must, and says that it goes on."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from modelhub.core.registry import Registry
from modelhub.errors import ModelhubError
from modelhub.web.dialects.answers import Loading

_SILENCE_S = 1.0
_TEXTS_AT_ONCE = 32  # to embed: what is read and written between two turns of other requests


@dataclass(slots=True)
class _Work:
    run: Callable[[], bytes]
    done: threading.Event = field(default_factory=threading.Event)
    result: bytes = b""
    error: Exception | None = None

    def __call__(self) -> None:
        try:
            self.result = self.run()
        except Exception as error:  # for the thread that waits
            self.error = error
        finally:
            self.done.set()


def ready(registry: Registry, model_id: str, by: str, has_left: Callable[[], bool]) -> None:
    """Wait until the model is in memory, and load it where it is not; raises ModelhubError."""
    for _ in registry.on_demand.ready(model_id, by, has_left):
        pass


def embed(
    registry: Registry,
    model_id: str,
    texts: Sequence[str],
    parameters: Mapping[str, Any],
    has_left: Callable[[], bool],
    keep_s: float | None,
) -> Iterator[dict[str, Any]]:
    """The embeddings of some texts after the other: ``{"embeddings": [[...]], "prompt_tokens": n}``.

    The model has to be in memory. Only the last ones say how long it stays: it must not leave before them.
    """
    for begin in range(0, len(texts), _TEXTS_AT_ONCE):
        end = begin + _TEXTS_AT_ONCE
        keep = keep_s if end >= len(texts) else None
        yield json.loads(
            registry.predict(model_id, texts[begin:end], dict(parameters), has_left, "embed", keep)
        )
        time.sleep(0)


def parts(
    registry: Registry, model_id: str, has_left: Callable[[], bool], run: Callable[[], bytes]
) -> Iterator[Loading | bytes | None]:
    """Loading while the model loads, None after each second of work, then what ``run()`` returns.

    Raises ModelhubError.
    """
    for snapshot in registry.on_demand.ready(model_id, "rest", has_left):
        yield Loading(snapshot)
    work = _Work(run)
    threading.Thread(target=work, daemon=True).start()
    while not work.done.wait(_SILENCE_S):
        yield None
    if work.error is not None:
        raise work.error
    if not work.result:
        raise ModelhubError("internal")
    yield work.result
