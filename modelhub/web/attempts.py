"""How often a token may be guessed: at the login page, as Bearer and over Socket.IO together, by address."""

from __future__ import annotations

import ipaddress
import logging
from typing import TYPE_CHECKING

from flask import Flask, current_app, request
from flask_limiter import Limiter
from limits import parse

from modelhub.errors import ModelhubError

if TYPE_CHECKING:
    from modelhub.web.access import Access, Identity

_WRONG = parse("10 per minute")
_EXTENSION = "modelhub_attempts"
log = logging.getLogger(__name__)


def init_app(app: Flask) -> None:
    """Count in memory, for this run of the server; what is older than a minute is forgotten."""
    limiter = Limiter(_address, storage_uri="memory://")
    limiter.init_app(app)
    app.extensions[_EXTENSION] = limiter


def identify(access: Access, token: str) -> Identity | None:
    """What a token of the current request allows; None for a wrong one, which counts.

    Raises ``too_many_requests``, also for a right one, where too many from this address were wrong.
    """
    limiter, address = current_app.extensions[_EXTENSION].limiter, _address()
    if not limiter.test(_WRONG, address):
        raise ModelhubError("too_many_requests")
    identity = access.identify(token)
    if identity is None:
        limiter.hit(_WRONG, address)
        log.warning("A wrong token came from %s", address)
    return identity


def _address() -> str:
    """The client's address; of IPv6 the network, since one client has all addresses in it."""
    text = request.remote_addr or ""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return "a local socket"
    if address.version == 4 or address.ipv4_mapped:
        return str(getattr(address, "ipv4_mapped", None) or address)
    return str(ipaddress.ip_network((address, 64), strict=False))
