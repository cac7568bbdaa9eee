"""Lines of the log as JSON, one object a line, for programs that collect them: ``MODELHUB_LOG=json``.

What JSON escapes cannot end a line, so nobody can forge one by what a request or a model's file contains.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime

NAME = "json"  # the value of the setting
# What a line may say of its load besides its message: logging's ``extra``.
_EXTRA = ("load_id", "model", "code")


class JsonFormatter(logging.Formatter):
    """time, level, logger, message, pid; of a load load_id, model and code; traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
        }
        fields |= {name: getattr(record, name) for name in _EXTRA if getattr(record, name, None) is not None}
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)


def use_in_child() -> None:
    """In a process that the server has started: write lines as the server does, where that is JSON."""
    if os.environ.get("MODELHUB_LOG", "").strip().lower() == NAME:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonFormatter())
        logging.basicConfig(level=logging.WARNING, handlers=[handler])
        logging.captureWarnings(True)
