"""A reading that another process does: it sends its ledger over a socket, and reads while that is open."""

from __future__ import annotations

import json
import logging
import os
import select
import socket
import threading
from collections.abc import Sequence

from modelhub.loader.files.opening import Files, WeightFile
from modelhub.loader.reading.reader import Reader
from modelhub.loader.reading.reading import Reading

log = logging.getLogger(__name__)
_PATIENCE_S = 1.0  # how long the other process may take to find and inspect the files
_MAX_BYTES = 2**20


def offer(reader: Reader, link: socket.socket) -> None:
    """Send the ledger of ``reader`` to the process that will use what it reads; raises OSError."""
    message = json.dumps(_describe(reader.weights)).encode()
    socket.send_fds(link, [len(message).to_bytes(4, "little") + message], [reader.ledger.descriptor])


def accept(files: Files, weights: Sequence[WeightFile], link: socket.socket) -> SharedReading | None:
    """The reading that the other end of ``link`` does, if it is one of these files in full, else None."""
    descriptors: list[int] = []
    try:
        link.settimeout(_PATIENCE_S)
        data, descriptors, _, _ = socket.recv_fds(link, _MAX_BYTES, 1)
        while len(data) < 4 or len(data) < 4 + int.from_bytes(data[:4], "little"):
            more = link.recv(_MAX_BYTES)
            if not more:
                raise EOFError
            data += more
        if descriptors and json.loads(data[4:]) == _describe(weights):
            return SharedReading(files, weights, descriptors.pop(), link)
    except (OSError, EOFError, ValueError) as error:
        log.debug("Nothing is read by another process: %r", error)
    for descriptor in descriptors:
        os.close(descriptor)
    link.close()
    return None


def _describe(weights: Sequence[WeightFile]) -> list[list[str | int]]:
    return [[str(weight.path), weight.size] for weight in weights]


class SharedReading(Reading):
    """Looks at the ledger of another process. If that process ends early, the rest is read here."""

    def __init__(
        self, files: Files, weights: Sequence[WeightFile], descriptor: int, link: socket.socket
    ) -> None:
        super().__init__(files, weights, descriptor=descriptor)
        self._link = link
        self._lock = threading.Lock()  # assembly and the first run wait in threads of their own
        self._rest: Reader | None = None

    def check(self) -> None:
        """Take over if the other process has ended; raises what reading here has met."""
        with self._lock:
            if self._rest is not None:
                self._rest.check()
            elif select.select([self._link], [], [], 0)[0] and not self.is_complete():
                self._rest = Reader(self.files, self.weights, descriptor=os.dup(self.ledger.descriptor))
                self._rest.start()

    def stop(self) -> None:
        """Have the other process stop, and let go of the ledger."""
        self._link.close()
        if self._rest is not None:
            self._rest.stop()
        self.ledger.close()
