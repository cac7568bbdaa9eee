"""The memory of a node, and what its loads have reserved of it: the node itself admits them."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from modelhub.core.budget import check_fits, free_for_load
from modelhub.workers.handle import Process


@dataclass(slots=True)
class _Reservation:
    process: Process
    model_id: str
    size: int
    taken_from: int | None  # the anonymous memory of the process as of then; None: what is reserved stays so

    @property
    def pending(self) -> int:
        """The bytes of it that the system still counts as free."""
        if self.taken_from is None:
            return self.size
        return max(0, self.size - max(0, self.process.anonymous_bytes() - self.taken_from))


class Room:
    """Any thread may call any method. Sizes are bytes; the rules are those of ``core.admission``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reserved: dict[str, _Reservation] = {}  # by worker

    def pending(self, without: str | None = None) -> int:
        """What loads have reserved and not taken yet."""
        with self._lock:
            return self._pending(without)

    def free_for(self, worker: str) -> int:
        """What a load may take now."""
        return free_for_load(self.pending(worker))

    def admit(self, worker: str, process: Process, model_id: str, need: int, force: bool) -> None:
        """Reserve memory for a load; raises ``no_memory`` where it does not fit, unless ``force``."""
        with self._lock:
            if not force:
                others = [one for name, one in self._reserved.items() if name != worker]
                loading = [(one.size, one.model_id) for one in others if one.taken_from is not None]
                check_fits(model_id, need, free_for_load(self._pending(worker)), loading)
            self._reserved[worker] = _Reservation(process, model_id, need, process.anonymous_bytes())

    def settle(self, worker: str, mapped: int) -> None:
        """A model is ready: what is mapped from its files stays reserved, since the system calls it free."""
        with self._lock:
            if (found := self._reserved.get(worker)) is not None:
                found.size, found.taken_from = mapped, None

    def release(self, worker: str) -> None:
        """Its process has ended."""
        with self._lock:
            self._reserved.pop(worker, None)

    def _pending(self, without: str | None) -> int:
        return sum(one.pending for name, one in self._reserved.items() if name != without)
