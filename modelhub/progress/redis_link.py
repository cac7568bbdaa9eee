"""What hub and web processes agree on in Redis: the keys, the ids of entries, and how it is connected to.

redis is imported only here, and only where there is one (MODELHUB_REDIS).
"""

from __future__ import annotations

import json
from enum import Enum
from typing import Any, NamedTuple, cast

from modelhub.errors import ModelhubError

STREAM = "modelhub:events"  # what the hub writes
HUB = "modelhub:hub"  # where the hub is, see ``Address``
FENCE = "modelhub:fence"  # the number of the newest hub
SECRET = "modelhub:secret"  # what signs sessions  # noqa: S105 - the name of a key
ENTRY = "entry"  # the one field of an entry in the stream
RETRY_S = 0.1  # how long to wait before Redis is tried again
_CONNECT_S, _RESPONSE_S = 0.5, 1.0
_TAKE_FENCE = """
local now = redis.call('TIME')
local fence = tonumber(redis.call('GET', KEYS[1]) or '0') + 1
fence = string.format('%.0f', math.max(fence, now[1] * 1000 + math.floor(now[2] / 1000)))
redis.call('SET', KEYS[1], fence)
return fence
"""


class Kind(str, Enum):  # noqa: UP042 - as State
    """What an entry of the stream is about."""

    EVENT = "event"  # of a model: ``name`` is that of the event, the payload its snapshot
    STATE = "state"  # the snapshot of a model that changed without an event
    PARTS = "parts"  # what has changed of ``payloads.HubParts``
    PREPARED = "prepared"  # the ids of all models that are kept prepared
    LOGGED_OUT = "logged_out"  # a session that was logged out of: it is over at all processes
    STOPPING = "stopping"  # the hub is about to end
    BEAT = "beat"  # the hub is there

    __str__ = str.__str__


class Address(NamedTuple):
    """A hub: where it is reached, its epoch, and its fence, a number larger than that of any hub before."""

    url: str
    epoch: str
    fence: int

    def to_json(self) -> str:
        """As it is kept in Redis."""
        return json.dumps(self._asdict())

    @classmethod
    def from_json(cls, text: str) -> Address:
        """The same, read; raises ValueError, TypeError for what is none."""
        return cls(**json.loads(text))


class Position(NamedTuple):
    """The place of an entry: which hub has written it, and as its how manieth one, from 1 without a gap."""

    fence: int
    n: int

    @classmethod
    def of(cls, entry_id: str) -> Position:
        """The position of an entry by its id in Redis."""
        fence, _, n = entry_id.partition("-")
        return cls(int(fence), int(n))

    def __str__(self) -> str:
        return f"{self.fence}-{self.n}"


def connect(url: str) -> Any:
    """A client that gives up at once where Redis is away, and tries nothing twice; connects on first use.

    Raises ModelhubError ``bad_setting`` for what is no address, or without the package.
    """
    try:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        return Redis.from_url(
            url,
            decode_responses=True,
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=_CONNECT_S,
            socket_timeout=_RESPONSE_S,
        )
    except ImportError:
        why = "The package redis is missing: pip install -r requirements-cluster.txt."
    except ValueError as error:
        why = f"{error}."
    # The address may have a password.
    raise ModelhubError("bad_setting", setting="MODELHUB_REDIS", value="the value given", why=why)


def failures() -> tuple[type[Exception], ...]:
    """What a command raises where Redis is away, or refuses it."""
    from redis.exceptions import RedisError

    return (RedisError, OSError)


def take_fence(client: Any) -> int:
    """A new number for a hub: larger than any before, also where Redis has lost its data meanwhile."""
    return int(client.eval(_TAKE_FENCE, 1, FENCE))


def shared_secret(url: str, own: str = "") -> str | None:
    """The key that signs the sessions of the hub and of all web processes; None while there is none.

    The hub gives its ``own``, which becomes the key where there is none yet. None is also returned while
    Redis is away.
    """
    client = connect(url)
    try:
        if own:
            client.set(SECRET, own, nx=True)
        return cast("str | None", client.get(SECRET))
    except failures():
        return None
    finally:
        client.close()
