"""Converts any exception of a load into a ModelhubError, without paths of this machine in it."""

from __future__ import annotations

import errno
import re
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx2
import torch
from huggingface_hub import errors as hub_errors
from huggingface_hub.utils._http import parse_ratelimit_headers
from safetensors import SafetensorError

from modelhub import memory, units
from modelhub.checkpoints import LoadSpec
from modelhub.errors import ModelhubError
from modelhub.formats import CONFIG, WEIGHTS

_PATH = re.compile(r"(?:file:/*|(?<![\w.:/-])(?:~|[A-Za-z]:)?[/\\])[^\s'\"`,;:()<>]+")
_INSTALL = re.compile(r"pip install (?:-[\w-]+ )*['\"]?([A-Za-z0-9][\w.-]*)")
_LIBRARY = re.compile(r"(?:requires|requires the|requires the 🤗) ([A-Za-z0-9][\w.-]*) library")
_REQUIRED = re.compile(r"^`?([A-Za-z][\w.-]*)`? is required (?:for|to) ")
_OPTIONAL = re.compile(r"Missing optional dependencies: ([A-Za-z][\w-]*)")
_TOO_MANY_REQUESTS = 429
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)
NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
# The names of distributions that differ from those of their modules, and from transformers' own spelling.
_DISTRIBUTIONS = {
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python",
    "google": "protobuf",
    "pil": "pillow",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
_PRESENT = frozenset(("transformers", "torch", "pytorch", "huggingface_hub", "modelhub"))
# Each release of these fits one build of torch: pip may replace torch itself, by one with other libraries.
_TIED_TO_TORCH = frozenset(("torchvision", "torchaudio", "torchcodec", "xformers", "flash-attn"))


def explain(error: BaseException, spec: LoadSpec) -> ModelhubError:
    """The error to show for an exception; a ModelhubError is returned as it is."""
    model_id = spec.model_id
    if isinstance(error, ModelhubError):
        return error
    if isinstance(error, torch.OutOfMemoryError):
        return ModelhubError("device_out_of_memory", id=model_id)
    if is_out_of_memory(error):
        used, limit = map(units.size, memory.used_and_limit())
        return ModelhubError("out_of_memory", id=model_id, used=used, limit=limit)
    if isinstance(error, SafetensorError):
        code = "corrupt_own" if _is_own(spec) else "corrupt"
        return ModelhubError(code, id=model_id, file=WEIGHTS, why=one_line(error))
    from_hub = explain_hub(error, model_id)
    if from_hub is not None:
        return from_hub
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return ModelhubError("disk_full", id=model_id, needed="some space", free="none")
    if isinstance(error, OSError) and error.errno in (*NOT_ALLOWED, *_GONE):
        file = Path(str(error.filename)).name if error.filename else "A file"
        code = "files_gone" if error.errno in _GONE else "no_permission"
        return ModelhubError(code, id=model_id, file=file)
    return explain_package(error, model_id) or ModelhubError("load_failed", id=model_id, why=one_line(error))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, as the system or a library says it."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    texts = ("can't allocate memory", "not enough memory", "Cannot allocate memory")
    return isinstance(error, MemoryError) or any(text in str(error) for text in texts)


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
        asked_s = asked_wait_s(error.response)
        when = f"in {units.duration(asked_s)}" if asked_s else "later"
        if status == _TOO_MANY_REQUESTS:
            return ModelhubError("rate_limited", id=model_id, when=when)
        why = f"status {status}" + (f", to be asked again {when}" if asked_s else "")
        return ModelhubError("hub_error", id=model_id, why=why)
    if isinstance(error, hub_errors.LocalEntryNotFoundError) and error.__cause__ is not None:
        return explain_hub(error.__cause__, model_id)
    if isinstance(error, hub_errors.OfflineModeIsEnabled | hub_errors.LocalEntryNotFoundError):
        return ModelhubError("hub_unreachable", id=model_id)
    if isinstance(error, httpx2.TransportError):
        return ModelhubError("hub_unreachable", id=model_id)
    if isinstance(error, hub_errors.FileMetadataError):
        return ModelhubError("hub_error", id=model_id, why="a response has no metadata of the file")
    return None


def asked_wait_s(response: httpx2.Response) -> float | None:
    """How many seconds the hub asks to wait before the next request; None where it does not."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdigit():
        return float(text)
    if text:
        with suppress(ValueError):
            at = parsedate_to_datetime(text)
            return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
    limit = parse_ratelimit_headers(response.headers)
    is_reason = response.status_code == _TOO_MANY_REQUESTS and limit is not None and limit.remaining == 0
    return float(limit.reset_in_seconds) if is_reason and limit is not None else None


def explain_package(error: BaseException, model_id: str) -> ModelhubError | None:
    """The error to show if a missing package is the cause of ``error``, else None."""
    package = missing_package(error)
    if package is None:
        return None
    todo = f"Run 'pip install {package}' and restart."
    if package in _TIED_TO_TORCH:
        todo = f"Choose another model: modelhub works without {package}, which must match the build of torch."
    return ModelhubError("needs_package", id=model_id, package=package, todo=todo)


def missing_package(error: BaseException) -> str | None:
    """The distribution to install, if a missing one is the cause of ``error`` and its name is known."""
    text = str(error)
    if isinstance(error, ValueError) and (match := _OPTIONAL.search(text)):
        return match[1].lower()
    if not isinstance(error, ImportError):
        return None
    if isinstance(error, ModuleNotFoundError) and error.name:
        names = [error.name.partition(".")[0]]
    elif "`bitsandbytes`" in text:
        # transformers names accelerate first, which bitsandbytes needs beside it.
        names = ["bitsandbytes"]
    else:
        names = [name for pattern in (_INSTALL, _LIBRARY, _REQUIRED) for name in pattern.findall(text)]
    for name in names:
        package = _DISTRIBUTIONS.get(name.lower(), name.lower().rstrip(".-"))
        if package not in _PRESENT:
            return package
    return None


def one_line(error: BaseException, folder: Path | None = None) -> str:
    """An exception as one line: its type and text, with every path cut down to the name of the file."""
    text = str(error) if folder is None else str(error).replace(str(folder), "")
    text = _PATH.sub(lambda match: re.split(r"[/\\]", match[0].rstrip("/\\"))[-1], text)
    return f"{type(error).__name__}: {' '.join(text.split())}"
