"""Python runs this at its start where this folder is on PYTHONPATH: workers read weights as from a slow disk.

What is read is read; it only takes as long as at ``SLOW_DISK_BYTES_PER_S``, so that a test meets the load in
the middle of its weights on whatever machine.
"""

from __future__ import annotations

import os
import sys
import threading
import time

if {"modelhub.workers.zygote", "modelhub.workers.reader"} & set(sys.orig_argv):
    from modelhub.loader.reading.populate import Window

    _rate = int(os.environ["SLOW_DISK_BYTES_PER_S"])
    _one_at_a_time = threading.Lock()
    _populate = Window.populate

    def _slowly(self: Window, offset: int, length: int) -> bool:
        with _one_at_a_time:
            time.sleep(length / _rate)
        return _populate(self, offset, length)

    Window.populate = _slowly  # type: ignore[method-assign]
