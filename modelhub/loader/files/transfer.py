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
from modelhub.loader.files.patience import RETRIED, BadAnswer, Patience, Say

_HASH_PIECE = 2**20
_GIT_DIGITS, _SHA256_DIGITS = 40, 64
_PARTIAL_CONTENT, _BEYOND_THE_END = 206, 416


class WrongChecksum(Exception):
    """The bytes received are not those that the hub announced, and were not when fetched once more."""


class WrongSize(Exception):
    """The hub sends another number of bytes than it announced; the text says which."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """One file to fetch: ``size`` bytes from ``url`` into ``blob``, whose name is the file's checksum.

    It is the SHA-256 of a large file, the git blob id of any other.
    """

    name: str
    url: str
    blob: Path
    size: int

    @property
    def partial(self) -> Path:
        """Where the bytes are until the file is complete; a later load resumes from it."""
        return self.blob.with_name(self.blob.name + ".incomplete")

    def new_digest(self) -> hashlib._Hash | None:
        """What computes the checksum; None for one of an unknown kind."""
        if len(self.blob.name) == _GIT_DIGITS:
            return hashlib.sha1(b"blob %d\0" % self.size, usedforsecurity=False)
        return hashlib.sha256() if len(self.blob.name) == _SHA256_DIGITS else None


def bytes_on_disk(transfer: Transfer) -> int:
    """How many bytes of the file are on disk already."""
    for path in (transfer.blob, transfer.partial):
        with suppress(OSError):
            return min(path.stat().st_size, transfer.size)
    return 0


def fetch(transfer: Transfer, cancel: Cancel, report: Callable[[int], None], say: Say) -> None:
    """Fetch what is missing; calls ``report(count)`` with the bytes of this file that are on disk.

    Asks again as ``Patience`` does; ``say`` gets what is waited for, None once it has come. A file whose
    checksum is wrong is fetched once more. Raises Cancelled, WrongChecksum, WrongSize, httpx2 and
    huggingface_hub errors, and OSError. The bytes received are kept for the next load, unless they are wrong.
    """
    transfer.blob.parent.mkdir(parents=True, exist_ok=True)
    with open(transfer.partial, "r+b", buffering=0, opener=_create) as file:
        _lock(file, cancel)
        if transfer.blob.exists():  # another process has fetched it meanwhile
            transfer.partial.unlink(missing_ok=True)
            report(transfer.size)
            return
        _Download(transfer, file, cancel, report, say).run()
        os.replace(transfer.partial, transfer.blob)


def _create(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT, 0o666)


def _lock(file: BinaryIO, cancel: Cancel) -> None:
    """Two processes must not write into one file. The kernel drops the lock when its process ends."""
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            cancel.wait(0.2)


class _Download:
    """The bytes of one file. ``_at``: up to where they are known to be the hub's.

    What is fetched once more overwrites what is there, so that no byte on disk is ever taken back.
    """

    def __init__(
        self,
        transfer: Transfer,
        file: BinaryIO,
        cancel: Cancel,
        report: Callable[[int], None],
        say: Say,
    ) -> None:
        self._transfer = transfer
        self._file = file
        self._cancel = cancel
        self._report = report
        self._say = say
        self._at = file.seek(0, os.SEEK_END)
        if self._at > transfer.size:
            file.truncate(0)
            self._at = 0
        self._digest = transfer.new_digest()
        self._hashed = 0

    def run(self) -> None:
        """Fetch what is missing, and all of it once more where the checksum is wrong."""
        self._hash_up_to(self._at)
        self._fill()
        if self._is_right():
            return
        self._begin_again(f"{self._transfer.name} was damaged on its way and is fetched once more")
        self._fill()
        if not self._is_right():
            self._transfer.partial.unlink()
            raise WrongChecksum(self._transfer.name)

    def _fill(self) -> None:
        patience, farthest = Patience(self._cancel, self._say), self._at
        while self._at < self._transfer.size:
            self._report(self._length())
            failure: Exception | None = None
            try:
                self._stream()
            except RETRIED as error:
                failure = error
            if self._at > farthest:
                farthest = self._at
                patience.renew()
            if self._at < self._transfer.size:
                self._wait_after(failure or BadAnswer(), patience)
        self._say(None)
        self._report(self._transfer.size)

    def _wait_after(self, failure: Exception, patience: Patience) -> None:
        try:
            patience.wait_after(failure)
        except BadAnswer:
            sends = f"sends {self._at:,}" if self._at else "sends none"
            raise WrongSize(self._announced() + sends) from None

    def _stream(self) -> None:
        headers = build_hf_headers() | {"Accept-Encoding": "identity"}
        if self._at:
            headers["Range"] = f"bytes={self._at}-"
        timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
        with get_session().stream("GET", self._transfer.url, headers=headers, timeout=timeout) as response:
            if response.status_code == _BEYOND_THE_END:
                raise BadAnswer
            hf_raise_for_status(response)
            begin = _begin_of(response)
            if begin == 0 and self._at:
                self._begin_again(f"the hub sends all of {self._transfer.name} again")
            elif begin != self._at:
                raise BadAnswer
            for piece in response.iter_bytes():
                self._cancel.check()
                self._write(piece)

    def _write(self, piece: bytes) -> None:
        if self._at + len(piece) > self._transfer.size:
            self._transfer.partial.unlink()
            raise WrongSize(self._announced() + "sends more")
        self._file.seek(self._at)
        left = memoryview(piece)
        while left:  # a disk that becomes full takes a part
            written = self._file.write(left)
            if self._digest is not None and self._hashed == self._at:
                self._digest.update(left[:written])
                self._hashed += written
            self._at += written
            left = left[written:]
            self._report(self._length())

    def _begin_again(self, why: str) -> None:
        self._say(why)
        self._at = self._hashed = 0
        self._digest = self._transfer.new_digest()

    def _is_right(self) -> bool:
        self._hash_up_to(self._transfer.size)
        return self._digest is None or self._digest.hexdigest() == self._transfer.blob.name

    def _hash_up_to(self, end: int) -> None:
        """Bytes that an earlier load has received are hashed when they are on disk already."""
        self._file.seek(self._hashed)
        while self._digest is not None and self._hashed < end:
            self._cancel.check()
            piece = self._file.read(min(_HASH_PIECE, end - self._hashed))
            if not piece:
                return
            self._digest.update(piece)
            self._hashed += len(piece)

    def _length(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def _announced(self) -> str:
        return f"it announced {self._transfer.size:,} bytes of {self._transfer.name} and "


def _begin_of(response: httpx2.Response) -> int | None:
    """The place in the file of the first byte of a response; None where it does not say."""
    if response.status_code != _PARTIAL_CONTENT:
        return 0
    unit, _, ranges = response.headers.get("Content-Range", "").partition(" ")
    begin = ranges.partition("-")[0]
    return int(begin) if unit == "bytes" and begin.isdigit() else None
