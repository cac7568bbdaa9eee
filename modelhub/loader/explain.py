"""Converts any exception of a load into a ModelhubError, without paths of this machine in it."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import httpx2
import torch
from huggingface_hub import errors as hub_errors
from safetensors import SafetensorError

from modelhub.checkpoints import LoadSpec
from modelhub.errors import ModelhubError
from modelhub.formats import CONFIG, WEIGHTS

_PATH = re.compile(r"(?:file:/*|(?<![\w.:/-])(?:~|[A-Za-z]:)?[/\\])[^\s'\"`,;:()<>]+")
_PACKAGE = re.compile(
    r"pip install (?:-U |--upgrade )?([A-Za-z0-9_.-]+)|requires the ([A-Za-z0-9_.-]+) library"
)


def explain(error: BaseException, spec: LoadSpec) -> ModelhubError:
    """The error to show for an exception; a ModelhubError is returned as it is."""
    model_id = spec.model_id
    if isinstance(error, ModelhubError):
        return error
    if isinstance(error, torch.OutOfMemoryError):
        return ModelhubError("device_out_of_memory", id=model_id)
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return ModelhubError("host_out_of_memory", id=model_id)
    if isinstance(error, SafetensorError):
        code = "corrupt_own" if _is_own(spec) else "corrupt"
        return ModelhubError(code, id=model_id, file=WEIGHTS, why=one_line(error))
    from_hub = explain_hub(error, model_id)
    if from_hub is not None:
        return from_hub
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ModelhubError("disk_full", id=model_id, needed="some space", free="none")
    package = missing_package(error)
    if package is not None:
        return ModelhubError("needs_package", id=model_id, package=package)
    return ModelhubError("load_failed", id=model_id, why=one_line(error))


def _is_own(spec: LoadSpec) -> bool:
    """Whether the model comes from the user's models folder."""
    return Path(spec.models_dir, spec.model_id, CONFIG).is_file()


def explain_hub(error: BaseException, model_id: str) -> ModelhubError | None:
    """The error to show for an exception of huggingface_hub or its HTTP client, else None."""
    if isinstance(error, hub_errors.GatedRepoError):
        return ModelhubError("gated", id=model_id)
    if isinstance(error, hub_errors.RepositoryNotFoundError | hub_errors.RevisionNotFoundError):
        where = "in the models folder, the Hugging Face cache or on the hub"
        todo = "A private model needs a token: run 'hf auth login'."
        return ModelhubError("unknown_model", id=model_id, where=where, todo=todo)
    if isinstance(error, hub_errors.HfHubHTTPError):
        status = error.response.status_code
        if status in (401, 403):
            return ModelhubError("gated", id=model_id)
        return ModelhubError("hub_error", id=model_id, why=f"status {status}")
    if isinstance(error, hub_errors.LocalEntryNotFoundError) and error.__cause__ is not None:
        return explain_hub(error.__cause__, model_id)
    if isinstance(error, hub_errors.OfflineModeIsEnabled | hub_errors.LocalEntryNotFoundError):
        return ModelhubError("hub_unreachable", id=model_id)
    if isinstance(error, httpx2.TransportError):
        return ModelhubError("hub_unreachable", id=model_id)
    if isinstance(error, hub_errors.FileMetadataError):
        return ModelhubError("hub_error", id=model_id, why="a response has no metadata of the file")
    return None


def missing_package(error: BaseException) -> str | None:
    """The package to install, if a missing one is the cause of ``error``, else None."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return error.name.partition(".")[0]
    if isinstance(error, ImportError):
        match = _PACKAGE.search(str(error))
        return match[1] or match[2] if match else one_line(error)
    return None


def one_line(error: BaseException, folder: Path | None = None) -> str:
    """An exception as one line: its type and text, with every path cut down to the name of the file."""
    text = str(error) if folder is None else str(error).replace(str(folder), "")
    text = _PATH.sub(lambda match: re.split(r"[/\\]", match[0].rstrip("/\\"))[-1], text)
    return f"{type(error).__name__}: {' '.join(text.split())}"
