"""The rows of the journal: their columns, and how they are stored."""

from __future__ import annotations

import json
import sqlite3
import time
import zlib
from collections.abc import Mapping
from typing import Any, cast

from modelhub.payloads import LoadRow, Timeline
from modelhub.states import State

COLUMNS = (
    *("load_id", "model_id", "state", "by", "ended_by", "requested_at", "started_at", "ended_at", "seconds"),
    *("bytes", "memory", "device", "dtype", "source", "revision", "architecture", "parameters"),
    *("requested_device", "requested_dtype", "error", "steps", "conditions", "forecast"),
    *("node", "placement"),
)
COLUMNS_OF_A_NEW_LOAD = (
    *("load_id", "model_id", "state", "by", "requested_at", "requested_device", "requested_dtype"),
)
STORED_COLUMNS = (*COLUMNS, "is_dismissed", "to_resume")
_CONDITIONS = {  # what a reader of them relies on
    *("source", "device", "dtype", "start", "wait_s", "weight_bytes", "cached_bytes", "fetch_bytes"),
    *("other_bytes", "files", "others"),
}
_JSON_COLUMNS = ("error", "steps", "conditions", "forecast")


def new_row(load_id: str, model_id: str, by: str, device: str = "auto", dtype: str = "auto") -> LoadRow:
    """The row of a load that has just been requested; ``by`` is page, rest, cli, preload or resume."""
    row = dict.fromkeys(COLUMNS)
    known = {"load_id": load_id, "model_id": model_id, "by": by, "requested_at": time.time()}
    known |= {"requested_device": device, "requested_dtype": dtype}
    return cast(LoadRow, {**row, **known, "state": State.QUEUED})


def stored(values: Mapping[str, object]) -> list[object]:
    """Values by column, as SQLite keeps them."""
    return [
        json.dumps(value) if name in _JSON_COLUMNS and value is not None else value
        for name, value in values.items()
    ]


def load_row(row: sqlite3.Row) -> LoadRow | None:
    """A row as it was stored; None where a damaged file has made it unreadable."""
    values: dict[str, Any] = dict(row)
    try:
        values["state"] = State(values["state"])
        for name in _JSON_COLUMNS:
            if values.get(name) is not None:
                values[name] = json.loads(values[name])
    except (ValueError, TypeError):
        return None
    if not set(values.get("conditions") or ()) >= _CONDITIONS:
        values["conditions"] = None  # another version wrote down something else
    return cast(LoadRow, values)


def packed(timeline: Timeline) -> bytes:
    """A timeline as SQLite keeps it."""
    return zlib.compress(json.dumps(timeline, separators=(",", ":")).encode())


def unpacked(timeline: str | bytes) -> Timeline | None:
    """A timeline as it was kept, by an older version as text and only with counts of bytes; None where a
    damaged file has made it unreadable.
    """
    try:
        text = zlib.decompress(timeline) if isinstance(timeline, bytes) else timeline
        return cast(Timeline, {"counts": [], **json.loads(text)})
    except (zlib.error, ValueError, TypeError):
        return None


def _values(columns: tuple[str, ...]) -> str:
    return f"({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


def _taken(columns: tuple[str, ...]) -> str:
    return ", ".join(f"{name} = excluded.{name}" for name in columns[1:])


# The triggers that count loads see an update, which they would not with INSERT OR REPLACE.
PUT_LOAD = (
    f"INSERT INTO loads {_values(STORED_COLUMNS)} ON CONFLICT (load_id) DO UPDATE SET"
    f" {_taken(STORED_COLUMNS)}"
)
ADD_UNKNOWN_LOAD = f"INSERT OR IGNORE INTO loads {_values(STORED_COLUMNS)}"
PUT_TIMELINE = "INSERT OR REPLACE INTO timelines VALUES (?, ?)"
