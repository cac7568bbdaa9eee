"""What the Socket.IO library logs of what a client has sent: a line, and no traceback."""

from __future__ import annotations

import logging
import traceback
from types import FrameType


def shorten() -> None:
    """Have a request that cannot be read be one line."""
    library = logging.getLogger("engineio.server")
    library.handlers.clear()  # its own: what it logs goes to that of the server, too
    library.addFilter(_without_traceback)


def is_ours(error: BaseException) -> bool:
    """Whether code of modelhub has raised an error, or called what has raised it."""
    return any(_is_ours(frame) for frame, _ in traceback.walk_tb(error.__traceback__))


def _without_traceback(record: logging.LogRecord) -> bool:
    """Leave the traceback out where no code of modelhub is in it; for all records."""
    _, error, _ = record.exc_info or (None, None, None)
    if error is not None and not is_ours(error):
        record.levelno, record.levelname, record.exc_info = logging.WARNING, "WARNING", None
        record.msg, record.args = "A request of a client cannot be read: %.200r", (error,)
    return True


def _is_ours(frame: FrameType) -> bool:
    """Whether a frame runs code of modelhub; the limits stand around all packets."""
    name = str(frame.f_globals.get("__name__"))
    return name.startswith("modelhub.") and name != "modelhub.web.limits"
