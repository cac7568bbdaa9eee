"""Validates and parses model ids."""

from __future__ import annotations

import re
from typing import NamedTuple

from modelhub.errors import ModelhubError

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
_PATTERN = re.compile(
    rf"(?P<repo>(?:{_PART}/)?{_PART})(?:@(?P<revision>[A-Za-z0-9][A-Za-z0-9._/-]{{0,99}}))?"
)


class ModelId(NamedTuple):
    """A parsed model id: ``org/name@main`` is the repo ``org/name`` at the revision ``main``."""

    repo: str
    revision: str | None


def parse_model_id(text: object) -> ModelId:
    """Parse a model id; raises ModelhubError ``invalid_id``."""
    match = _PATTERN.fullmatch(text) if isinstance(text, str) else None
    if match is None or ".." in match[0] or "--" in match["repo"] or "//" in match[0]:
        raise ModelhubError("invalid_id", id=text)
    return ModelId(match["repo"], match["revision"])
