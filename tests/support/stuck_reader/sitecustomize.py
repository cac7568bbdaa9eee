"""Python runs this at its start where this folder is on PYTHONPATH: the process that reads ahead is stuck.

It is so for as long as the FIFO ``STUCK_AT`` is there. With ``STUCK_IN`` D it is in uninterruptible sleep, as
where a disk does not respond: a thread that has called vfork waits like that for its child, which waits to
open the FIFO. With ``STUCK_IN`` R it computes.
"""

from __future__ import annotations

import ctypes
import os
import sys

if "modelhub.workers.reader" in sys.orig_argv:
    from modelhub.loader.reading.populate import Window

    _fifo, _sleeps = os.environ["STUCK_AT"], os.environ["STUCK_IN"] == "D"
    _populate = Window.populate
    _libc = ctypes.CDLL(None)

    def _wait_uninterruptibly() -> None:
        """As ``os.posix_spawn``, which would hold the lock of the interpreter."""
        pid, actions = ctypes.c_int(), ctypes.create_string_buffer(256)
        argv, environ = (ctypes.c_char_p * 2)(b"true", None), (ctypes.c_char_p * 1)(None)
        _libc.posix_spawn_file_actions_init(actions)
        _libc.posix_spawn_file_actions_addopen(actions, 0, os.fsencode(_fifo), os.O_RDONLY, 0)
        if _libc.posix_spawn(ctypes.byref(pid), b"/bin/true", actions, None, argv, environ) == 0:
            os.waitpid(pid.value, 0)

    def _stuck(self: Window, offset: int, length: int) -> bool:
        while os.path.exists(_fifo):
            if _sleeps:
                _wait_uninterruptibly()
        return _populate(self, offset, length)

    Window.populate = _stuck  # type: ignore[method-assign]
