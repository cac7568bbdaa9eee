"""The spare: a worker forked ahead of its load, which has loaded and run a tiny model already.

What a process does for the first time takes a quarter of the load of a small model: threads to start, code
to fault in, caches to fill. The zygote may not compute, so it cannot do that for its children; a child that
waits can. It holds about 35 MB of its own meanwhile.
"""

from __future__ import annotations

import socket

from modelhub.workers.lifeline import name_process, prefer_as_oom_victim

_READY = b"r"


class Spare:
    """The zygote's handle to it; readable at ``stage`` when it has something to say."""

    def __init__(self, pid: int, stage: socket.socket) -> None:
        self.pid = pid
        self.stage = stage
        self.is_ready = False

    def hear(self) -> None:
        """Take what came at ``stage``: that it is ready; raises EOFError when it is gone."""
        if self.stage.recv(1) != _READY:
            raise EOFError
        self.is_ready = True

    def take_on(self, descriptor: int) -> bool:
        """Give it the channel of a worker; False when it is gone."""
        try:
            socket.send_fds(self.stage, [_READY], [descriptor])
        except OSError:
            return False
        finally:
            self.stage.close()
        return True


def stand_by(stage: socket.socket) -> int | None:
    """In the spare itself: rehearse, then wait for a worker's channel; its descriptor, None if none comes."""
    from modelhub.loader.preparation import prepare_process
    from modelhub.loader.rehearsal import rehearse

    name_process("modelhub-spare")
    prefer_as_oom_victim()
    prepare_process()
    rehearse()
    stage.sendall(_READY)
    _, descriptors, _, _ = socket.recv_fds(stage, 1, 1)
    stage.close()
    return descriptors[0] if descriptors else None
