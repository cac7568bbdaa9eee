"""Events of a model in use: by how many, how fast it writes, since when nobody does, and when it leaves."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from modelhub.core.load import Load
from modelhub.core.loads import Loads
from modelhub.core.replica_state import is_replica_loading, replicas_of, steady
from modelhub.payloads import Replica, Use
from modelhub.progress.adapter import ProgressAdapter
from modelhub.states import State

_PERIOD_S = 1.0  # at most one event of a model in so long
_SETTLE_S = 0.03  # a request that need not wait has begun by then
_WINDOW_S = 3.0  # over which tokens are counted
StaysFor = Callable[[Load], float | None]


class UseNews:
    """``begin`` and ``follow`` are for the thread of a load whose model has become ready.

    The first change is sent at once, what follows at most once a second, and nothing where nothing changes.
    ``stays_s`` says for how long a model stays in memory that nobody uses, None for ever.
    """

    def __init__(
        self, loads: Loads, adapter: ProgressAdapter, spawn: Callable[..., object], stays_s: StaysFor
    ) -> None:
        self._loads = loads
        self._adapter = adapter
        self._spawn = spawn
        self._stays_s = stays_s

    def begin(self, load: Load, memory: int) -> Use:
        """What there is to say of a model that becomes ready now, and whose load took so much memory."""
        return use_of(load, self._stays_s, memory=memory)

    def follow(self, load: Load) -> None:
        """Send from now on how the model is used, once that is another than at the end of its load."""
        first = self._adapter.snapshot(load.model_id)["use"]
        follower = _Follower(load, first, self._stays_s, self._send, self._spawn)
        assert load.worker is not None  # noqa: S101 - a ready load has one
        load.use.tell = load.worker.on_use = follower.wake
        load.use.tell_now = follower.tell_now
        follower.wake()

    def _send(self, load: Load, use: Use, replicas: list[Replica]) -> None:
        with self._loads.lock:  # what leaves is no longer in use
            if load.state == State.READY:
                self._adapter.in_use(load.model_id, load.load_id, use, replicas)


def use_of(
    load: Load, stays_s: StaysFor, tokens_per_second: float | None = None, memory: int | None = None
) -> Use:
    """How a ready model is used as of now."""
    ready = [one for one in load.copies if one is load or one.state == State.READY]
    requests = [one.worker.requests for one in ready if one.worker is not None]
    running, waiting = sum(one[0] for one in requests), sum(one[1] for one in requests)
    idle_since = None if running or waiting else load.use.idle_since
    stay_s = stays_s(load)
    leaves_at = None if idle_since is None or stay_s is None else idle_since + stay_s
    return {
        "running": running,
        "waiting": waiting,
        "tokens_per_second": tokens_per_second if idle_since is None else None,
        "idle_since": None if idle_since is None else round(idle_since, 3),
        "leaves_at": None if leaves_at is None else round(leaves_at, 3),
        "memory": sum(one.held_bytes for one in ready) if memory is None else memory,
    }


class _Follower:
    """Follows the use of one model, with a thread that runs only while it is in use."""

    def __init__(
        self,
        load: Load,
        first: Use | None,
        stays_s: StaysFor,
        send: Callable[[Load, Use, list[Replica]], None],
        spawn: Callable[..., object],
    ) -> None:
        self._load = load
        self._sent = first
        self._sent_replicas: list[Replica] = []
        self._sent_at = float("-inf")
        self._stays_s = stays_s
        self._send = send
        self._spawn = spawn
        self._tokens: deque[tuple[float, int]] = deque()  # so many were written by then
        self._changed = threading.Event()
        self._lock = threading.Lock()  # guards what was sent
        self._is_running = False

    def wake(self) -> None:
        """The model may be used in another way."""
        self._changed.set()
        if not self._is_running:
            self._is_running = True
            self._spawn(self._run)

    def tell_now(self) -> None:
        """A replica has another state: send it before this returns. The caller holds no lock."""
        if self._load.state == State.READY:
            self._tell()
            self.wake()

    def _run(self) -> None:
        self._tokens.clear()
        self._load.process_exited.wait(_SETTLE_S)
        while self._load.state == State.READY:
            self._load.process_exited.wait(max(0.0, self._sent_at + _PERIOD_S - time.monotonic()))
            self._changed.clear()
            if self._tell()["idle_since"] is not None and not is_replica_loading(self._load):
                break
            self._changed.wait(_PERIOD_S)
        self._is_running = False
        if self._changed.is_set() and self._load.state == State.READY:
            self.wake()

    def _tell(self) -> Use:
        """Send how the model is used now, where that is another than was sent."""
        with self._lock:
            use = use_of(self._load, self._stays_s, self._rate(), self._memory())
            replicas = replicas_of(self._load, self._sent_replicas)
            if (use, replicas) != (self._sent, self._sent_replicas):
                self._sent, self._sent_replicas, self._sent_at = use, replicas, time.monotonic()
                self._send(self._load, use, replicas)
            return use

    def _rate(self) -> float | None:
        """Tokens a second; None where none has come, or the time was too short to tell."""
        workers = [one.worker for one in self._load.copies if one.worker is not None]
        now, written = time.monotonic(), sum(worker.tokens_written for worker in workers)
        self._tokens.append((now, written))
        while len(self._tokens) > 2 and self._tokens[1][0] <= now - _WINDOW_S:
            self._tokens.popleft()
        then, before = self._tokens[0]
        return round((written - before) / (now - then), 1) if written > before else None

    def _memory(self) -> int:
        """What the model takes in memory, as it was sent where it has hardly changed."""
        held = sum(one.held_bytes for one in self._load.copies if one.state == State.READY)
        return held if self._sent is None else steady(held, self._sent["memory"])
