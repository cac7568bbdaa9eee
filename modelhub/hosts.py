"""The names that this server is reached by: a request with another one is that of a hostile page."""

from __future__ import annotations

import ipaddress
import re
import socket
import time
from typing import NamedTuple

import psutil

LOOPBACK = ("127.0.0.1", "localhost", "::1")
WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]{1,253}))(?::([0-9]{1,5}))?", re.ASCII | re.IGNORECASE)
_LOOK_AGAIN_S = 5.0


class Host(NamedTuple):
    """A name or an address, as compared, and the port; None where none is given."""

    name: str
    port: int | None


def parse(text: str) -> Host | None:
    """The host of a header or a setting, such as ``Example.org:8080`` or ``[::1]``; None if it is none."""
    match = _HOST.fullmatch(text)
    if match is None:
        return None
    name = plain(match[1] or match[2])
    return Host(name, int(match[3]) if match[3] else None) if name else None


def plain(name: str) -> str:
    """A name or an address in the one form that is compared: lower case, an address in its shortest form."""
    address = _address(name)
    return name.lower() if address is None else str(address)


def is_loopback(host: str) -> bool:
    """Whether what listens at ``host`` can be reached from this machine only."""
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def is_address_of_others(host: str) -> bool:
    """Whether ``host`` is an address, and not one of this machine alone."""
    address = _address(host)
    return address is not None and not address.is_loopback


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


class Hosts:
    """What the server that listens at ``bound`` is reached by, and ``more``; checks Host headers."""

    def __init__(self, bound: str, more: tuple[Host, ...] = ()) -> None:
        self._more = frozenset(more)
        self._names = {*LOOPBACK}
        self._is_wildcard = bound in WILDCARDS
        if not self._is_wildcard:
            self._names.add(plain(bound))
        if not is_loopback(bound):
            self._names.add(socket.gethostname().lower())
        self._own: frozenset[str] = frozenset()
        self._looked_at = float("-inf")

    def accept(self, header: str) -> bool:
        """Whether a Host header names this server."""
        host = parse(header)
        if host is None:
            return False
        if host.name in self._names or host in self._more or Host(host.name, None) in self._more:
            return True
        return self._is_wildcard and _address(host.name) is not None and host.name in self._own_addresses()

    def _own_addresses(self) -> frozenset[str]:
        """Those of the machine's network cards, which may change while the server runs."""
        now = time.monotonic()
        if now - self._looked_at > _LOOK_AGAIN_S:
            cards = psutil.net_if_addrs().values()
            kinds = (socket.AF_INET, socket.AF_INET6)
            self._own = frozenset(plain(one.address) for card in cards for one in card if one.family in kinds)
            self._looked_at = now
        return self._own
