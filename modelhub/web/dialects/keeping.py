"""How long a model stays in memory after a request, as clients of other programs say it."""

from __future__ import annotations

import math
import re

from modelhub.web.dialects.fields import Fields

_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)(ns|us|µs|ms|s|m|h)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")
_LONGEST_S = 1e9


def keep_s(fields: Fields) -> float | None:
    """The seconds after the end of this request that its model stays: ``keep_alive`` of Ollama, else ``ttl``.

    ``keep_alive`` is a number of seconds or a duration such as 5m or 1h30m; what is negative is never (inf).
    None without either; raises BadField.
    """
    value = fields.any("keep_alive")
    if isinstance(value, str):
        seconds = _seconds(value.strip())
        if seconds is None:
            raise fields.refuse("keep_alive", "It must be seconds, or a duration such as 5m or 1h30m.")
    else:
        name = "ttl" if value is None else "keep_alive"
        seconds = fields.number(name, -_LONGEST_S, _LONGEST_S)
    return math.inf if seconds is not None and seconds < 0 else seconds


def _seconds(text: str) -> float | None:
    """``"1h30m"`` is 5400.0, ``"-1"`` is -1.0; None for what is no duration."""
    sign, unsigned = (-1, text[1:]) if text[:1] == "-" else (1, text)
    if unsigned.isdecimal() and unsigned.isascii() and len(unsigned) < 12:
        return float(sign * int(unsigned))
    if not _DURATION.fullmatch(unsigned):
        return None
    return sign * sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(unsigned))
