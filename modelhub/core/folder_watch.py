"""Notices that folders of models come and go, so that pages show them without a reload."""

from __future__ import annotations

from pathlib import Path

from modelhub.core.pauses import Pauses
from modelhub.core.scan import folders_in

Signature = frozenset[tuple[str, int]]


def signature(models_dir: Path, cache_dir: Path) -> Signature:
    """The folders of models with the times of their changes: another one means another list, probably.

    Cheap: it looks at no file, so a file that grows changes nothing, but a new one does. Other threads run
    meanwhile.
    """
    pause = Pauses()
    first = folders_in(models_dir, pause)
    second = [inner for folder in first for inner in folders_in(folder, pause)]
    snapshots = [folder / "snapshots" for folder in folders_in(cache_dir, pause)]
    paths = (models_dir, *first, *second, *snapshots)
    return frozenset((str(path), _changed_at(path, pause)) for path in paths)


def _changed_at(path: Path, pause: Pauses) -> int:
    pause()
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
