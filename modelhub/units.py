"""Sizes, rates and times in words, the same on the page, in the terminal and in the API."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_FAR_APART = 2.0  # times as long; less far, the words would change twice as often
_LEAST_SPAN_S = 2.5  # of less time left, it does not matter how certain it is


class _Time(NamedTuple):
    """A round time."""

    number: float
    unit: str
    seconds: float


# Each is so far from the next that an estimate which varies a little rarely changes the words back and forth.
_ROUND = (1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 45)
_LONG_ROUND = (1, 1.5, *_ROUND[1:])
_ROUND_TIMES = (
    _Time(0, "s", 0),
    *(_Time(number, "s", number) for number in _ROUND),
    *(_Time(number, "min", 60 * number) for number in _LONG_ROUND),
    *(_Time(number, "h", 3600 * number) for number in (*_LONG_ROUND, 70, 100, 150, 200, 300, 450, 700, 1000)),
)
_SHORT_TIMES = tuple(_Time(number / 10, "s", number / 10) for number in _ROUND if number < 10)


def size(bytes_: float | None) -> str:
    """Bytes in units of 1000: ``size(4_200_000_000)`` is ``"4.2 GB"``; None is ``"unknown"``."""
    if bytes_ is None:
        return "unknown"
    value, unit = float(bytes_), 0
    while abs(value) >= 999.5 and unit < len(_UNITS) - 1:
        value /= 1000
        unit += 1
    digits = 0 if unit < 2 or value >= 99.95 else 1
    return f"{value:.{digits}f} {_UNITS[unit]}"


def rate(bytes_per_second: float | None) -> str:
    """``rate(9.5e8)`` is ``"950 MB/s"``; None is ``"unknown"``."""
    return "unknown" if bytes_per_second is None else f"{size(bytes_per_second)}/s"


def duration(seconds: float | None) -> str:
    """``duration(0.42)`` is ``"0.4 s"``, ``duration(75)`` is ``"1 min 15 s"``; None is ``"unknown"``.

    A duration too short for tenths is given in milliseconds: ``duration(0.042)`` is ``"42 ms"``.
    """
    if seconds is None:
        return "unknown"
    if seconds < 0.095:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def tokens_rate(tokens_per_second: float | None) -> str:
    """``tokens_rate(34.2)`` is ``"34 tokens/s"``, of 3.4 ``"3.4 tokens/s"``; None is empty."""
    if tokens_per_second is None:
        return ""
    return f"{tokens_per_second:.{1 if tokens_per_second < 9.95 else 0}f} tokens/s"


def time_of_day(moment: float) -> str:
    """A moment in the time zone of this machine, which it names: ``"14:03 CET"``; the day too if past."""
    then = time.localtime(moment)
    day = "" if time.localtime()[:3] == then[:3] else "%Y-%m-%d "
    return time.strftime(f"{day}%H:%M %Z", then)


def round_duration(seconds: float) -> str:
    """A duration that somebody chose: ``round_duration(300)`` is ``"5 min"``, of 90 ``"1 min 30 s"``."""
    for unit, name in ((3600, "h"), (60, "min")):
        if seconds and seconds % unit == 0:
            return f"{seconds / unit:,.0f} {name}"
    return f"{seconds:g} s" if seconds < 60 else duration(seconds)


def fine_duration(seconds: float | None) -> str:
    """A duration with more digits: ``fine_duration(0.0034)`` is ``"3 ms"``, of 1.234 ``"1.23 s"``."""
    if seconds is None:
        return "unknown"
    if seconds < 0.9995:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    return f"{seconds:.1f} s" if seconds < 59.95 else duration(seconds)


def tick(seconds: float, apart: float) -> str:
    """A mark on an axis of time that has one every ``apart`` seconds: ``tick(1.5, 0.5)`` is ``"1.5 s"``."""
    if seconds == 0:
        return "0"
    for unit, name in ((3600, "h"), (60, "min"), (1, "s")):
        if apart >= unit:
            return f"{seconds / unit:g} {name}"
    return f"{seconds:.1f} s" if apart >= 0.1 else f"{seconds * 1000:.0f} ms"


def share(part: float | None) -> str:
    """``share(0.895)`` is ``"90%"``; 100% and 0% only where it is all or nothing; None is ``"unknown"``."""
    if part is None:
        return "unknown"
    return f"{part:.0%}" if part in (0, 1) else f"{min(max(round(part * 100), 1), 99)}%"


def amount(done: int | None, total: int | None, unit: str | None) -> str:
    """How far a step is: ``amount(4_200_000_000, 14_100_000_000, "bytes")`` is ``"4.2 of 14.1 GB"``.

    None as ``done`` is the empty string, None as ``total`` is ``"4.2 GB so far"``.
    """
    if done is None:
        return ""
    if unit != "bytes":
        return f"{done} {unit} so far" if total is None else f"{done} of {total} {unit}"
    if total is None:
        return f"{size(done)} so far"
    value, small = size(done).split(" ")
    whole, large = size(total).split(" ")
    return f"{value if small == large else size(done)} of {whole} {large}"


def time_left(seconds: float | None, low: float | None = None, high: float | None = None) -> str:
    """``time_left(9.2)`` is ``"about 10 s left"``: coarser the further away, so that the words stay a while.

    Where ``low`` and ``high``, between which it probably is, are far apart: ``"10 to 20 s left"``.
    """
    if seconds is None:
        return "time left not known yet"
    between = "" if low is None or high is None else _between(low, high, _ROUND_TIMES)
    if between and (high or 0) >= _LEAST_SPAN_S:
        return f"{between} left"
    rounded = _rounded(seconds, _ROUND_TIMES)
    return f"about {rounded.number:g} {rounded.unit} left" if rounded.number else "less than 1 s left"


def about(seconds: float, low: float, high: float) -> str:
    """A time that is expected: ``"about 3.1 s"``, or where it is far from certain ``"10 to 20 s"``."""
    return _between(low, high, (*_SHORT_TIMES, *_ROUND_TIMES)) or f"about {duration(seconds)}"


def _between(low: float, high: float, times: Sequence[_Time]) -> str:
    """``"10 to 20 s"``; empty where they are close together."""
    begin, end = _rounded(low, times), _rounded(high, times)
    if high <= _FAR_APART * low or begin == end:
        return ""
    first = f"{begin.number:g}" if begin.unit == end.unit else f"{begin.number:g} {begin.unit}"
    return f"{first} to {end.number:g} {end.unit}" if begin.number else f"up to {end.number:g} {end.unit}"


def _rounded(seconds: float, times: Sequence[_Time]) -> _Time:
    return min(times, key=lambda time: abs(time.seconds - seconds))


def count(number: int | None) -> str:
    """``count(50_700_000)`` is ``"50.7 million"``; None is ``"unknown"``."""
    if number is None:
        return "unknown"
    for power, name in ((10**9, "billion"), (10**6, "million")):
        if number >= power:
            return f"{number / power:.1f} {name}"
    return f"{number:,}"


def capitalized(text: str) -> str:
    """``text`` with a capital at its beginning, and the rest as it is."""
    return f"{text[:1].upper()}{text[1:]}"


def printable(text: object, limit: int = 120) -> str:
    """``text`` with control characters replaced and cut to ``limit`` characters: safe to log and to show."""
    clean = "".join(c if c.isprintable() else "?" for c in str(text)[: limit + 1])
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"
