"""What the zygote's last warm-up on this machine took: the measure of how far the next one is."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger(__name__)
_MOST_S = 3600.0


class WarmUp(NamedTuple):
    """How long it takes to import torch and transformers, and how many modules that are.

    The defaults are for a machine that has not done it yet: a slow one, with the versions of
    requirements.txt.
    """

    seconds: float = 8.0
    modules: int = 2410


def read_warm_up(path: Path | None) -> WarmUp:
    """The last one, as kept in a file; the defaults without a file, or where it cannot be used."""
    if path is None or not path.exists():
        return WarmUp()
    try:
        kept = json.loads(path.read_text())
        warm_up = WarmUp(float(kept["seconds"]), int(kept["modules"]))
        if not (0 < warm_up.seconds < _MOST_S and warm_up.modules > 0):
            raise ValueError(warm_up)
    except (OSError, ValueError, TypeError, KeyError, OverflowError) as error:
        log.warning("What the last warm-up took cannot be read from %s: %s", path.name, error)
        return WarmUp()
    return warm_up


def keep_warm_up(path: Path | None, warm_up: WarmUp) -> None:
    """Keep one for the next run of the server; it is not kept where the folder cannot be written to."""
    if path is not None:
        written = path.with_suffix(".new")
        with contextlib.suppress(OSError):
            written.write_text(json.dumps(warm_up._asdict()))
            os.replace(written, path)
