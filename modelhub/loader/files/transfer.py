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
    """What came is not what the hub said it would send."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """One file to fetch: from ``url`` into ``blob``; ``sha256`` is None where the hub does not tell it."""

    name: str
    url: str
    blob: Path
    size: int
    sha256: str | None

    @property
    def partial(self) -> Path:
        """Where the bytes are until all of them have come; a later load goes on from there."""
        return self.blob.with_name(self.blob.name + ".incomplete")


def bytes_here(transfer: Transfer) -> int:
    """How many bytes of the file are on disk already."""
    for path in (transfer.blob, transfer.partial):
        with suppress(OSError):
            return min(path.stat().st_size, transfer.size)
    return 0


def fetch(transfer: Transfer, cancel: Cancel, tell: Callable[[int], None]) -> None:
    """Fetch what is missing; ``tell(count)`` is called with the bytes of this file that are on disk.

    A connection that breaks is made again, up to five times without a new byte between. Raises Cancelled,
    WrongChecksum, httpx2 and huggingface_hub errors, and OSError. What has come stays for the next time,
    but for a wrong checksum.
    """
    transfer.blob.parent.mkdir(parents=True, exist_ok=True)
    with open(transfer.partial, "ab", buffering=0) as file:
        _lock(file, cancel)
        if transfer.blob.exists():  # another process was quicker
            transfer.partial.unlink(missing_ok=True)
            tell(transfer.size)
            return
        digest = _resume(transfer, file)
        _fill(transfer, file, digest, cancel, tell)
        if transfer.sha256 is not None and digest.hexdigest() != transfer.sha256:
            transfer.partial.unlink()
            raise WrongChecksum(transfer.name)
        os.replace(transfer.partial, transfer.blob)


def _lock(file: BinaryIO, cancel: Cancel) -> None:
    """Two processes must not append to one file; the lock goes with the process that holds it."""
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            cancel.wait(0.2)


def _resume(transfer: Transfer, file: BinaryIO) -> hashlib._Hash:
    digest = hashlib.sha256()
    if file.tell() > transfer.size:
        file.truncate(0)
    with open(transfer.partial, "rb") as earlier:
        while piece := earlier.read(_HASH_PIECE):
            digest.update(piece)
    return digest


def _fill(
    transfer: Transfer, file: BinaryIO, digest: hashlib._Hash, cancel: Cancel, tell: Callable[[int], None]
) -> None:
    retries = RETRIES
    while (position := file.seek(0, os.SEEK_END)) < transfer.size:
        tell(position)
        try:
            _stream(transfer, file, digest, cancel, tell)
        except httpx2.TransportError:
            came = file.seek(0, os.SEEK_END) > position
            retries = RETRIES if came else retries - 1
            if retries == 0:
                raise
            cancel.wait(RETRY_AFTER_S)
    tell(transfer.size)


def _stream(
    transfer: Transfer, file: BinaryIO, digest: hashlib._Hash, cancel: Cancel, tell: Callable[[int], None]
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
            tell(position)
