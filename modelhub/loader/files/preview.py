"""What a load would read and fetch: the hub returns its list of files, and nothing is downloaded."""

from __future__ import annotations

from modelhub.checkpoints import LoadSpec
from modelhub.loader.files import source
from modelhub.loader.files.inspection import check_folder
from modelhub.loader.files.opening import CONFIG, read_json
from modelhub.loader.files.origins import LocalFiles
from modelhub.loader.files.remote import HubRepository
from modelhub.loader.files.sizes import configured_dtype, count
from modelhub.loader.files.weight_files import read_weight_files, weight_names
from modelhub.payloads import Preview


def preview(spec: LoadSpec) -> Preview:
    """Preview the load of ``spec``.

    Raises ``unknown_model``, ``gated``, ``no_config``, ``missing_weights``, ``hub_unreachable``,
    ``hub_error``, and what the inspection of a folder raises. A demo that is not made yet has no preview
    here: its size is known without a process (core/preview.py).
    """
    origin = source.find(spec)
    if isinstance(origin, HubRepository):
        return _preview_repository(origin, spec.dtype)
    assert isinstance(origin, LocalFiles)  # noqa: S101 - the only other origin is a demo that is not made
    return _preview_local(origin, spec.dtype)


def _preview_repository(origin: HubRepository, dtype: str) -> Preview:
    required = origin.required_files()
    entries = [*required.small, *required.weights]
    missing = [entry.size - required.bytes_on_disk.get(entry.name, 0) for entry in entries]
    missing = [size for size in missing if size > 0]
    size = sum(entry.size for entry in required.weights)
    as_stored = size if dtype == "auto" else None
    need = required.sizes.need_bytes(dtype) if required.sizes is not None else as_stored
    return {
        "source": origin.kind,
        "revision": origin.revision,
        "files": len(entries),
        "size_bytes": size,
        "need_bytes": need,
        "fetch_files": len(missing),
        "fetch_bytes": sum(missing),
    }


def _preview_local(origin: LocalFiles, dtype: str) -> Preview:
    files = origin.files
    names = check_folder(files)
    weights = read_weight_files(files, weight_names(files, names))
    tensors = (tensor for weight in weights for tensor in weight.tensors)
    configured = configured_dtype(read_json(files, CONFIG))
    return {
        "source": origin.kind,
        "revision": origin.revision,
        "files": len(names),
        "size_bytes": sum(weight.size for weight in weights),
        "need_bytes": count(tensors, configured).need_bytes(dtype),
        "fetch_files": 0,
        "fetch_bytes": 0,
    }
