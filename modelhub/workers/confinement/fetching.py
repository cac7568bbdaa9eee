"""An origin whose files are fetched by a thread that is not confined, for one that is."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from pathlib import Path

from modelhub.checkpoints import Checkpoint
from modelhub.loader.files.opening import Files
from modelhub.loader.files.origins import Origin

Fetch = Callable[[], Generator[Checkpoint, None, Files]]


class OtherOrigin:
    """An origin in the place of another one, to which it passes everything on."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin

    @property
    def kind(self) -> str:
        """As that of the origin itself; and so are the others."""
        return self._origin.kind

    @property
    def revision(self) -> str | None:
        return self._origin.revision

    @property
    def complete(self) -> bool:
        return self._origin.complete

    @property
    def folders(self) -> tuple[Path, ...]:
        return self._origin.folders

    def fetch_config(self) -> Generator[Checkpoint, None, Files]:
        return (yield from self._origin.fetch_config())

    def fetch_processor(self) -> Generator[Checkpoint, None, Files]:
        return (yield from self._origin.fetch_processor())

    def fetch_weights(self) -> Generator[Checkpoint, None, Files]:
        return (yield from self._origin.fetch_weights())

    def close(self) -> None:
        self._origin.close()


class FetchedElsewhere(OtherOrigin):
    """Does all of it in a thread that has started before this one is confined."""

    def __init__(self, origin: Origin) -> None:
        super().__init__(origin)
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="modelhub-fetch", daemon=True)
        self._thread.start()

    def fetch_config(self) -> Generator[Checkpoint, None, Files]:
        return (yield from self._relay(self._origin.fetch_config))

    def fetch_processor(self) -> Generator[Checkpoint, None, Files]:
        return (yield from self._relay(self._origin.fetch_processor))

    def fetch_weights(self) -> Generator[Checkpoint, None, Files]:
        files = yield from self._relay(self._origin.fetch_weights)
        self.close()
        return files

    def close(self) -> None:
        """Close the origin, and end the thread. Safe to call again."""
        if self._thread.is_alive():
            self._calls.put(self._origin.close)
            self._calls.put(None)
            self._thread.join()

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            call()

    def _relay(self, fetch: Fetch) -> Generator[Checkpoint, None, Files]:
        """What ``fetch`` yields, returns or raises in the other thread; closing this closes that."""
        said: queue.SimpleQueue[Checkpoint | BaseException | Files] = queue.SimpleQueue()
        closing = threading.Event()

        def work() -> None:
            steps = fetch()
            try:
                while not closing.is_set():
                    said.put(next(steps))
            except StopIteration as end:
                said.put(end.value)
            except BaseException as error:
                said.put(error)
            finally:
                steps.close()

        self._calls.put(work)
        try:
            while True:
                one = said.get()
                if isinstance(one, Files):
                    return one
                if isinstance(one, BaseException):
                    raise one
                yield one
        finally:
            closing.set()
