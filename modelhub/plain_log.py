"""Lines of the log: what clients sent can neither forge one nor reach the terminal that shows it."""

from __future__ import annotations

import logging
from types import TracebackType


class PlainFormatter(logging.Formatter):
    """Escapes control characters in a message; the lines of a traceback are indented."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line without its traceback."""
        return escaped(super().formatMessage(record))

    def formatException(
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        """The traceback."""
        lines = super().formatException(ei).split("\n")
        return "\n".join(f"    {escaped(line)}" for line in lines)


def escaped(text: str) -> str:
    """``text`` with what is not printable as Python writes it."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
