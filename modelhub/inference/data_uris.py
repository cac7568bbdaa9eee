"""Decodes base64 data: URIs, the only way in which images and audio come with a request."""

from __future__ import annotations

import base64
import binascii
from typing import Any


class BadInputs(ValueError):
    """Inputs that the task cannot use; the message says why, ``todo`` what to do."""

    def __init__(self, why: str, todo: str = "") -> None:
        self.todo = todo
        super().__init__(why)


def decode(uri: Any) -> bytes:
    """The bytes in a base64 data: URI; raises BadInputs for an address, a file name and anything else."""
    if not isinstance(uri, str) or not uri.startswith("data:"):
        raise BadInputs("URLs and file names are not accepted, only data: URIs.")
    head, comma, body = uri.partition(",")
    if not comma or not head.endswith(";base64"):
        raise BadInputs("the data: URI is not base64.")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadInputs("the data: URI is not valid base64.") from error


def encode(data: bytes, media_type: str) -> str:
    """``data`` as a base64 data: URI."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"
