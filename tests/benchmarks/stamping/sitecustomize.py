"""Python runs this at its start where this folder is on PYTHONPATH: workers stamp the checkpoints they send.

The detail of each becomes the clock's nanoseconds, so that a watcher can compute how long its delivery took.
"""

from __future__ import annotations

import sys
import time
from typing import Any

if "modelhub.workers.zygote" in sys.orig_argv:
    from modelhub.workers.channel import Channel

    _send = Channel.send

    def _stamped(self: Channel, message: dict[str, Any], body: bytes = b"") -> None:
        if message.get("type") == "checkpoint":
            stamped = message["checkpoint"]._replace(detail=str(time.monotonic_ns()))
            message = {**message, "checkpoint": stamped}
        _send(self, message, body)

    Channel.send = _stamped  # type: ignore[method-assign]
