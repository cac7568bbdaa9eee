"""Fetches one file of the hub into the cache: resumable, counted byte by byte, its checksum verified."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import httpx2
from huggingface_hub import constants, get_session
from huggingface_hub.utils._headers import build_hf_headers
from huggingface_hub.utils._http import hf_raise_for_status

from modelhub.loader.background import Cancel

RETRIES = 5
RETRY_AFTER_S = 1.0
_HASH_PIECE = 2**20


class WrongChecksum(Exception):
    """The bytes received are not those that the hub announced."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """One file to fetch: from ``url`` into ``blob``; ``sha256`` is None if the hub does not give one."""

    name: str
    url: str
    blob: Path
    size: int
    sha256: str | None

    @property
    def partial(self) -> Path:
        """Where the bytes are until the file is complete; a later load resumes from it."""
        return self.blob.with_name(self.blob.name + ".incomplete")


def bytes_on_disk(transfer: Transfer) -> int:
    """How many bytes of the file are on disk already."""
    for path in (transfer.blob, transfer.partial):
        with suppress(OSError):
            return min(path.stat().st_size, transfer.size)
    return 0


def fetch(transfer: Transfer, cancel: Cancel, report: Callable[[int], None]) -> None:
    """Fetch what is missing; calls ``report(count)`` with the bytes of this file that are on disk.

    A broken connection is opened again, up to five times in a row without a new byte. Raises Cancelled,
    WrongChecksum, httpx2 and huggingface_hub errors, and OSError. The bytes received are kept for the next
    load, unless their checksum is wrong.
    """
    transfer.blob.parent.mkdir(parents=True, exist_ok=True)
    with open(transfer.partial, "ab", buffering=0) as file:
        _lock(file, cancel)
        if transfer.blob.exists():  # another process has fetched it meanwhile
            transfer.partial.unlink(missing_ok=True)
            report(transfer.size)
            return
        digest = _resume(transfer, file)
        _fill(transfer, file, digest, cancel, report)
        if transfer.sha256 is not None and digest.hexdigest() != transfer.sha256:
            transfer.partial.unlink()
            raise WrongChecksum(transfer.name)
        os.replace(transfer.partial, transfer.blob)


def _lock(file: BinaryIO, cancel: Cancel) -> None:
    """Two processes must not append to one file. The kernel drops the lock when its process ends."""
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            cancel.wait(0.2)


def _resume(transfer: Transfer, file: BinaryIO) -> hashlib._Hash:
    """The digest of the bytes that are on disk; ``file`` is emptied if it is longer than it may be."""
    digest = hashlib.sha256()
    if file.tell() > transfer.size:
        file.truncate(0)
    with open(transfer.partial, "rb") as earlier:
        while piece := earlier.read(_HASH_PIECE):
            digest.update(piece)
    return digest


def _fill(
    transfer: Transfer, file: BinaryIO, digest: hashlib._Hash, cancel: Cancel, report: Callable[[int], None]
) -> None:
    retries = RETRIES
    while (position := file.seek(0, os.SEEK_END)) < transfer.size:
        report(position)
        try:
            _stream(transfer, file, digest, cancel, report)
        except httpx2.TransportError:
            received = file.seek(0, os.SEEK_END) > position
            retries = RETRIES if received else retries - 1
            if retries == 0:
                raise
            cancel.wait(RETRY_AFTER_S)
    report(transfer.size)


def _stream(
    transfer: Transfer, file: BinaryIO, digest: hashlib._Hash, cancel: Cancel, report: Callable[[int], None]
) -> None:
    position = file.tell()
    headers = build_hf_headers() | {"Accept-Encoding": "identity"}
    if position:
        headers["Range"] = f"bytes={position}-"
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    with get_session().stream("GET", transfer.url, headers=headers, timeout=timeout) as response:
        hf_raise_for_status(response)
        if position and response.status_code != 206:
            raise WrongChecksum(transfer.name)
        for piece in response.iter_bytes():
            cancel.check()
            position += len(piece)
            if position > transfer.size:
                raise WrongChecksum(transfer.name)
            file.write(piece)
            digest.update(piece)
            report(position)
