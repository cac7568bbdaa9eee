"""Cancels of a real load at random moments, seen by several watchers: for a test and a benchmark."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import psutil
import requests

from modelhub.config import CLI_USER_AGENT
from tests.support import models
from tests.support.forms import Visitor
from tests.support.server import Server, wait_until
from tests.support.watcher import Watcher

MODEL = "large/llama"
ASKERS = ("rest", "cli", "page")
_VOCABULARY = 400_000  # 103 MB, converted to 205 MB
_PATIENCE_S = 10.0
_SETTINGS = {"DTYPE": "float32", "KEEP_PREPARED_SECONDS": 0}


@dataclass(frozen=True, slots=True)
class Cancel:
    """One cancel: when and by whom it was requested, where the load was, and how long all took in seconds."""

    after_s: float
    by: str
    step: int | None  # None: it had not begun
    said_by: tuple[str, ...]  # who asked, according to each watcher
    told_s: float  # until the last watcher had the event
    gone_s: float  # until the process had exited


def start_server(folder: Path) -> Server:
    """A server with a model whose load takes about half a second."""
    models.make_sparse_llama(folder / "models" / MODEL, _VOCABULARY)
    return Server(folder / "data", MODELS_DIR=folder / "models", **_SETTINGS).start().wait_warm()


def typical_seconds(server: Server) -> float:
    """How long a load takes that is not the first one, from the request on."""
    seconds = 0.0
    for _ in range(2):
        began = time.monotonic()
        assert server.load(MODEL)["state"] == "ready"
        seconds = time.monotonic() - began
        server.delete(f"/api/models/{MODEL}")
    return seconds


def cancel_at(
    server: Server, watchers: Sequence[Watcher], after_s: float, by: str, others: int = 0
) -> Cancel | None:
    """Request a load and cancel it so much later; None where it was ready by then.

    ``others`` is how many processes load or hold another model.
    """
    load_id = server.request_load(MODEL)["load_id"]
    time.sleep(after_s)
    ask = _askers(server, load_id)[by]
    began = time.monotonic()
    if not ask():
        server.wait_state(MODEL, ("ready",))
        server.delete(f"/api/models/{MODEL}")
        return None
    found = [watcher.end_of(load_id, _PATIENCE_S) for watcher in watchers]
    wait_until(lambda: len(server.workers()) == others, _PATIENCE_S)
    gone_s = time.monotonic() - began
    payloads = [payload for _, payload in found]
    assert {payload["state"] for payload in payloads} == {"cancelled"}
    said_by = tuple(str(payload["by"]) for payload in payloads)
    told_s = max(at for at, _ in found) - began
    return Cancel(after_s, by, payloads[0]["step"], said_by, told_s, gone_s)


def _askers(server: Server, load_id: str) -> dict[str, Callable[[], bool]]:
    url, visitor = f"{server.url}/api/loads/{load_id}", Visitor(server)
    headers = {"User-Agent": CLI_USER_AGENT}
    return {
        "rest": lambda: requests.delete(url, timeout=_PATIENCE_S).ok,
        "cli": lambda: requests.delete(url, headers=headers, timeout=_PATIENCE_S).ok,
        "page": lambda: visitor.press("/", f"/loads/{load_id}/cancel").ok,
    }


def resident(server: Server) -> dict[str, int]:
    """The resident memory of the processes that stay, in bytes, once a spare is ready."""
    server.wait_spare()
    return {
        "server": psutil.Process(server.pid).memory_info().rss,
        "zygote": server.zygote().memory_info().rss,
    }


def cancels(
    server: Server, watchers: Sequence[Watcher], seconds: float, chance: random.Random
) -> Iterator[Cancel]:
    """Cancels at random moments of loads that take so long, by each of those who can ask in turn; no end."""
    for by in cycle(ASKERS):
        cancel = None
        while cancel is None:
            cancel = cancel_at(server, watchers, seconds * chance.random(), by)
        yield cancel
