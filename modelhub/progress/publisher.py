"""The hub's events in a stream of Redis, for web processes: put into a queue at once, written by one thread.

The id of each entry is FENCE-N, see ``redis_link.Position``. A batch is added only if the stream ends where
the last one did (``_APPEND``): so nothing is there twice, what a Redis that was restarted has lost is written
again, and a hub notices at once that another one has taken over.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice, takewhile
from typing import Any, NamedTuple

from modelhub.errors import ModelhubError
from modelhub.progress.redis_link import (
    FENCE,
    HUB,
    RETRY_S,
    SECRET,
    STREAM,
    Address,
    Kind,
    Position,
    connect,
    failures,
    take_fence,
)

log = logging.getLogger(__name__)
MOST_ENTRIES = 10_000  # that wait for Redis, and that the stream keeps at least
_KEPT_S = 10.0  # what was written is kept so long, to write it again
_BEAT_S = 1.0
_AWAY_S = 5.0  # Redis may be away for so long before that is a trouble
_BATCH = 200
_NOWHERE = "0-0"
_APPEND = """
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local last = newest[1] and newest[1][1] or '0-0'
if last ~= ARGV[1] then return last end
for i = 5, #ARGV do
  last = ARGV[2] .. '-' .. string.format('%.0f', ARGV[3] + i - 5)
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[4], last, 'entry', ARGV[i])
end
return last
"""
_ANNOUNCE = """
if tonumber(redis.call('GET', KEYS[1]) or '0') > tonumber(ARGV[1]) then return false end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('SET', KEYS[2], ARGV[2])
redis.call('SETNX', KEYS[3], ARGV[3])
return redis.call('GET', KEYS[3])
"""


class _Entry(NamedTuple):
    n: int
    text: str
    written_at: float = 0.0


class _Superseded(Exception):
    """Another hub has taken over."""


class Publisher:
    """The log of one hub at the Redis of ``url``; web processes reach the hub at ``address``.

    ``secret`` returns the key that signs sessions; ``use_secret`` is called where there is another one
    already, which all processes use. Of more than ``most`` entries that wait for Redis, the oldest are
    dropped: those that follow fetch the whole state then.
    """

    def __init__(
        self,
        url: str,
        address: str,
        secret: Callable[[], str],
        use_secret: Callable[[str], None] = lambda secret: None,
        most: int = MOST_ENTRIES,
    ) -> None:
        self.fence: int | None = None  # None until Redis was there
        self.is_stale = False  # another hub has taken over: nothing is written any more
        self.epoch = ""
        self.dropped = 0
        self._url = url
        self._address = address
        self._secret = secret
        self._use_secret = use_secret
        self._most = most
        self._lock = threading.Lock()  # guards what follows
        self._n = 0
        self._waiting: deque[_Entry] = deque()
        self._written: deque[_Entry] = deque()  # the newest of them
        self._newest = _NOWHERE  # where the stream ends, as far as is known
        self._announced_at = float("-inf")
        self._away_since: float | None = None
        self._news = threading.Event()
        self._all_written = threading.Condition(self._lock)
        self._closing = threading.Event()
        self._is_started = False

    @property
    def position(self) -> int:
        """The number of the newest entry: what happens from now on is in later ones."""
        return self._n

    def put(self, kind: Kind, payload: Any, name: str = "") -> None:
        """Have an entry written, after all that were put before. Never blocks; any thread may call it."""
        if self.is_stale:
            return
        text = json.dumps({"kind": kind, "name": name, "payload": payload}, separators=(",", ":"))
        with self._lock:
            self._n += 1
            self._waiting.append(_Entry(self._n, text))
            if len(self._waiting) > self._most:
                self._waiting.popleft()
                self.dropped += 1
        self._news.set()

    def start(self, spawn: Callable[..., object], epoch: str) -> None:
        """Begin to write what was put, for the run of the server that ``epoch`` names; once."""
        if not self._is_started:
            self._is_started, self.epoch = True, epoch
            spawn(self._run)

    def close(self, timeout_s: float) -> None:
        """Wait until all that was put is written, at most so long, and end."""
        with self._all_written:
            is_there = self._is_started and not self.is_stale and self._away_since is None
            self._all_written.wait_for(lambda: not self._waiting or self.is_stale, is_there * timeout_s)
        self._closing.set()
        self._news.set()

    def troubles(self) -> Iterable[ModelhubError]:
        """What keeps web processes from following."""
        if self.is_stale:
            yield ModelhubError("stale_hub")
        elif self._away_since is not None and time.monotonic() - self._away_since > _AWAY_S:
            yield ModelhubError("redis_away")

    def _run(self) -> None:
        while not self._closing.is_set():
            client = connect(self._url)
            try:
                self._serve(client)
            except failures() as error:
                self._note_away(error)
                self._closing.wait(RETRY_S)
            except _Superseded:
                self._stop()
                return
            finally:
                client.close()

    def _serve(self, client: Any) -> None:
        """Write what comes, and a beat where nothing does, until Redis is away."""
        while not self._closing.is_set():
            if time.monotonic() - self._announced_at > _BEAT_S:
                self._announce(client)
            self._news.clear()
            while batch := self._batch():
                self._write(client, batch)
            if not self._news.wait(_BEAT_S):
                self.put(Kind.BEAT, None)

    def _announce(self, client: Any) -> None:
        """Say where this hub is; what a Redis without data has lost is there again then."""
        if self.fence is None:
            self.fence = take_fence(client)
        address = Address(self._address, self.epoch, self.fence)
        own = self._secret()
        secret = client.eval(_ANNOUNCE, 3, FENCE, HUB, SECRET, str(self.fence), address.to_json(), own)
        if secret is None:
            raise _Superseded
        if secret != own:
            self._use_secret(secret)
        if self._away_since is not None:
            log.warning("Redis is back: web processes follow this server again.")
        self._away_since, self._announced_at = None, time.monotonic()

    def _batch(self) -> list[_Entry]:
        """The oldest entries that wait, up to where some were dropped."""
        with self._lock:
            first = self._waiting[0].n if self._waiting else 0
            numbered = enumerate(islice(self._waiting, _BATCH), first)
            return [entry for _, entry in takewhile(lambda pair: pair[0] == pair[1].n, numbered)]

    def _write(self, client: Any, batch: list[_Entry]) -> None:
        """Add a batch to the stream, if that ends where it should; else find out what it lacks."""
        texts = [entry.text for entry in batch]
        begin = (self._newest, self.fence, batch[0].n, MOST_ENTRIES)
        newest = client.eval(_APPEND, 1, STREAM, *begin, *texts)
        last = str(Position(self.fence or 0, batch[-1].n))
        # A batch of which the response was lost is there as well.
        if newest == last:
            self._newest = last
            self._note_written(batch[-1].n)
        else:
            self._resume(client, newest)

    def _note_written(self, n: int) -> None:
        now = time.monotonic()
        with self._all_written:
            self._move_to_written(n, now)
            too_many = len(self._written) - self._most
            while too_many > 0 or (self._written and self._written[0].written_at < now - _KEPT_S):
                self._written.popleft()
                too_many -= 1
            if not self._waiting:
                self._all_written.notify_all()

    def _move_to_written(self, n: int, now: float) -> None:
        while self._waiting and self._waiting[0].n <= n:
            self._written.append(self._waiting.popleft()._replace(written_at=now))

    def _resume(self, client: Any, newest: str) -> None:
        """The stream ends elsewhere: go on from there, with what was written since and got lost."""
        place = Position.of(newest)
        if self.fence is None or place.fence > self.fence:
            raise _Superseded
        self._announce(client)
        kept_n = place.n if place.fence == self.fence else 0
        with self._lock:
            self._newest = newest
            while self._written and self._written[-1].n > kept_n:
                self._waiting.appendleft(self._written.pop())
            self._move_to_written(kept_n, time.monotonic())

    def _note_away(self, error: Exception) -> None:
        if self._away_since is None:
            log.warning("Redis is away, web processes cannot follow meanwhile: %s", error)
            self._away_since = time.monotonic()

    def _stop(self) -> None:
        error = ModelhubError("stale_hub")
        log.error("%s %s", error.message, error.hint)
        with self._all_written:
            self.is_stale = True
            self._waiting.clear()
            self._written.clear()
            self._all_written.notify_all()
