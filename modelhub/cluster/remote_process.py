"""A process on another machine that was requested for a worker, as the server sees it."""

from __future__ import annotations

from modelhub.errors import ModelhubError
from modelhub.workers.channel import Channel
from modelhub.workers.children import Exit
from modelhub.workers.handle import EXIT_TIMEOUT_S, Process


class RemoteProcess(Process):
    """As ``Process``, but for that its node forks, kills and reaps it: the end of the channel tells it to."""

    def __init__(self, process_id: str, channel: Channel) -> None:
        super().__init__(process_id, channel)
        self.own_bytes: int | None = None  # what no other process of its node shares
        self._pid: int | None = None
        self._anonymous_bytes = 0

    @property
    def pid(self) -> int | None:
        """Its id on its node, once it was forked."""
        return self._pid

    def anonymous_bytes(self) -> int:
        """The memory that it had for itself in the last report of its node; 0 before that."""
        return self._anonymous_bytes

    def begin(self, pid: int) -> None:
        """It was forked."""
        self._pid = pid

    def note_memory(self, anonymous: int, own: int | None) -> None:
        """Its memory in bytes, as of now."""
        self._anonymous_bytes, self.own_bytes = anonymous, own

    def end(self, ended: Exit, refusal: str | None) -> None:
        """It has ended; or it could not begin, where there is a ``refusal``."""
        self.refusal = refusal
        self._end(ended)

    def lose(self, error: ModelhubError) -> None:
        """Its node is lost, and it with that."""
        self.failure = error
        self._end(Exit(None))

    def close(self) -> None:
        """Have it killed, wait for its exit, and close the channel; no thread may be reading any more."""
        self.kill()
        self.wait(EXIT_TIMEOUT_S)
        self.channel.close()
