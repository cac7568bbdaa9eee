"""What a load would bring, and from where: the hub is asked for its list of files, and nothing is fetched."""

from __future__ import annotations

from typing import Any

from modelhub.checkpoints import LoadSpec
from modelhub.loader.files import source
from modelhub.loader.files.inspection import Files, check_folder, weight_names
from modelhub.loader.files.origins import Here
from modelhub.loader.files.remote import Remote


def plan(spec: LoadSpec) -> dict[str, Any]:
    """The plan of a load.

    Its fields: ``source``, ``revision``, ``files`` (a count), ``size_bytes`` (of the weights), and of what is
    not here yet ``fetch_files`` and ``fetch_bytes``. Raises ``unknown_model``, ``gated``, ``no_config``,
    ``missing_weights``, ``hub_unreachable``, ``hub_error``, and what the inspection of a folder raises.
    """
    origin = source.find(spec)
    if isinstance(origin, Remote):
        survey = origin.survey()
        needed = [*survey.small, *survey.weights]
        missing = {entry.name: entry.size - survey.here.get(entry.name, 0) for entry in needed}
        missing = {name: size for name, size in missing.items() if size > 0}
        return {
            "source": origin.kind,
            "revision": origin.revision,
            "files": len(needed),
            "size_bytes": sum(entry.size for entry in survey.weights),
            "fetch_files": len(missing),
            "fetch_bytes": sum(missing.values()),
        }
    assert isinstance(origin, Here)  # noqa: S101 - a demo that is not made yet is planned without a process
    return _plan_here(origin)


def _plan_here(origin: Here) -> dict[str, Any]:
    files: Files = origin.files
    names = check_folder(files)
    size = sum((files.folder / name).stat().st_size for name in weight_names(files, names))
    known = {"source": origin.kind, "revision": origin.revision, "files": len(names), "size_bytes": size}
    return {**known, "fetch_files": 0, "fetch_bytes": 0}
