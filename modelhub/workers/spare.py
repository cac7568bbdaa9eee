"""The spare: a worker that is forked before its load, and has loaded and run a tiny model already.

What a process does for the first time takes a quarter of the load of a small model: threads to start, code
to page in, caches to fill. The zygote must not compute, so it cannot do that for its children; a child that
waits can. The spare takes about 35 MB of memory meanwhile.
"""

from __future__ import annotations

import json
import socket

from modelhub.workers.lifeline import name_process, prefer_as_oom_victim

_WORK = b"w"
_MOST_BYTES = 64


class Spare:
    """The zygote's handle to the spare; ``control`` becomes readable when it is ready or has exited."""

    def __init__(self, pid: int, control: socket.socket) -> None:
        self.pid = pid
        self.control = control
        self.is_ready = False
        self.rehearsal_seconds: float | None = None  # None where it is not ready, or the rehearsal failed

    def read_ready(self) -> None:
        """Read that the spare is ready; raises EOFError or OSError if it has exited."""
        message = self.control.recv(_MOST_BYTES)
        if not message:
            raise EOFError
        self.rehearsal_seconds = json.loads(message)
        self.is_ready = True

    def assign(self, descriptor: int) -> bool:
        """Send it the channel of a worker; False if it has exited."""
        try:
            socket.send_fds(self.control, [_WORK], [descriptor])
        except OSError:
            return False
        finally:
            self.control.close()
        return True


def wait_for_work(control: socket.socket, device: str, title: str) -> int | None:
    """In the spare itself: rehearse, then wait for a worker's channel; its descriptor, None at the end.

    ``device`` is the one that loads are expected to use; ``title`` is for ``ps``.
    """
    from modelhub.loader.preparation import prepare_process
    from modelhub.loader.rehearsal import rehearse

    name_process("modelhub-spare", title)
    prefer_as_oom_victim()
    prepare_process()
    try:
        control.sendall(json.dumps(rehearse(device)).encode())
        _, descriptors, _, _ = socket.recv_fds(control, 1, 1)
    except ConnectionError:  # the zygote ends, and has not read how long the rehearsal took
        return None
    control.close()
    return descriptors[0] if descriptors else None
