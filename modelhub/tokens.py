"""The tokens that clients are let in with: what they look like, and the file they may be in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

LEAST_CHARACTERS = 16
# What an Authorization header may hold as it is (RFC 6750, 2.1).
_PATTERN = re.compile(rf"[A-Za-z0-9._~+/-]{{{LEAST_CHARACTERS},1000}}={{0,2}}")
_FILE_BYTES = 4096


class Tokens(NamedTuple):
    """The token that allows everything, and the one that only lets watch; empty for none."""

    full: str = ""
    view: str = ""


def checked(raw: object) -> str:
    """The token, without white space around it; raises ValueError for what cannot be one."""
    text = str(raw).strip()
    if text and not _PATTERN.fullmatch(text):
        raise ValueError(
            f"A token has at least {LEAST_CHARACTERS} characters: letters, digits and any of -._~+/ only."
        )
    return text


def check_pair(tokens: Tokens) -> Tokens:
    """Both tokens; raises ValueError where one cannot be used beside the other."""
    if tokens.view and not tokens.full:
        raise ValueError("A view token needs MODELHUB_TOKEN beside it.")
    if tokens.view and tokens.view == tokens.full:
        raise ValueError("The two tokens must differ.")
    return tokens


def read_file(path: Path) -> Tokens:
    """The tokens in a file: the first line, and the view token in the second, if there is one.

    Raises ValueError for what cannot be tokens, OSError where the file cannot be read.
    """
    with path.open("rb") as file:
        lines = file.read(_FILE_BYTES).decode("ascii", "replace").split("\n")
    tokens = Tokens(*(checked(line) for line in lines[:2]))
    if not tokens.full:
        raise ValueError("The token has to be the first line of the file.")
    return check_pair(tokens)
