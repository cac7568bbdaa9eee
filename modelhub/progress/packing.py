"""The events of a load that has ended, packed: a fraction of what they take as dictionaries."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, cast

from modelhub.payloads import Snapshot
from modelhub.progress.trace import Trace
from modelhub.states import EventName, State


class Event(NamedTuple):
    """An event as it was sent: its number, its name and its payload."""

    seq: int
    name: EventName
    payload: Snapshot


def pack(events: Iterable[Event], trace: Trace) -> bytes:
    """Events and the story of a load as bytes: of each payload what differs from the one before it."""
    events = list(events)
    content = {
        "names": [event.name for event in events],
        "payloads": _differences([event.payload for event in events]),
        "load_id": trace.load_id,
        "lines": _differences(trace.lines),
        "rates": trace.rates,
    }
    return zlib.compress(json.dumps(content, separators=(",", ":")).encode())


def unpack(packed: bytes) -> tuple[list[Event], Trace]:
    """What ``pack`` has packed."""
    content: dict[str, Any] = json.loads(zlib.decompress(packed))
    payloads = _whole(content["payloads"])
    names = [EventName(name) for name in content["names"]]
    events = [Event(payload["seq"], name, payload) for name, payload in zip(names, payloads, strict=True)]
    trace = Trace(content["load_id"])
    trace.lines = _whole(content["lines"])
    trace.rates = [(elapsed, rate) for elapsed, rate in content["rates"]]
    return events, trace


def _differences(payloads: list[Snapshot]) -> list[list[Any]]:
    """Of each payload the fields that are not as in the one before, and the names of those that are gone."""
    found: list[list[Any]] = []
    before: Mapping[str, Any] = {}
    for payload in payloads:
        now = cast(Mapping[str, Any], payload)
        changed = {name: value for name, value in now.items() if name not in before or before[name] != value}
        found.append([changed, [name for name in before if name not in now]])
        before = now
    return found


def _whole(differences: list[list[Any]]) -> list[Snapshot]:
    found: list[Snapshot] = []
    before: dict[str, Any] = {}
    for changed, gone in differences:
        before = {name: value for name, value in (before | changed).items() if name not in gone}
        before["state"] = State(before["state"])
        found.append(cast(Snapshot, before))
    return found
