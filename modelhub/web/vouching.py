"""A web process says for whom it passes a request on, and proves with the key of all sessions that it is one.

The header names what the gate of the web process has seen and let in: scheme, address and host of the
client's request. Without the key nobody can write it, so the server needs no setting to believe it.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

HEADER = "X-Modelhub-Web"
_IN_ENVIRON = "HTTP_X_MODELHUB_WEB"
_PARTS = 3
_SCHEMES = ("http", "https")


def vouch(key: str, environ: dict[str, Any]) -> str:
    """The value of the header for a request that a web process was sent."""
    said = " ".join(
        (environ["wsgi.url_scheme"], environ.get("REMOTE_ADDR") or "-", environ.get("HTTP_HOST") or "-")
    )
    return f"{said} {_proof(key, said)}"


def take(key: str, environ: dict[str, Any]) -> bool:
    """Take the header out of a request; True where a web process has sent it: it counts as its client's."""
    said, _, proof = environ.pop(_IN_ENVIRON, "").rpartition(" ")
    parts = said.split(" ")
    if len(parts) != _PARTS or not hmac.compare_digest(proof.encode(), _proof(key, said).encode()):
        return False
    scheme, address, host = parts
    if scheme not in _SCHEMES:
        return False
    environ["wsgi.url_scheme"] = scheme
    environ["REMOTE_ADDR"] = "" if address == "-" else address
    environ["HTTP_HOST"] = "" if host == "-" else host
    return True


def _proof(key: str, said: str) -> str:
    return hmac.new(
        f"web process:{key}".encode(), said.encode("latin-1", "replace"), hashlib.sha256
    ).hexdigest()
