"""What the hub writes into the stream: every entry once, in order, also into a Redis that has lost it all."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from modelhub.progress import publisher
from modelhub.progress.publisher import Publisher
from modelhub.progress.redis_link import ENTRY, STREAM, Kind, Position
from tests.support.following import spawn
from tests.support.redis_server import RedisServer
from tests.support.server import wait_until


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    running = RedisServer().start()
    yield running
    running.kill()


def start(redis: RedisServer) -> Publisher:
    """A hub's publisher, which has its number."""
    one = Publisher(redis.url, "http://127.0.0.1:1", lambda: "secret")
    one.start(spawn, "epoch")
    wait_until(lambda: one.fence is not None)
    return one


def written(redis: RedisServer) -> list[tuple[int, object]]:
    """The numbers and the contents of the entries, but for beats."""
    entries = [(Position.of(name).n, json.loads(one[ENTRY])) for name, one in redis.client().xrange(STREAM)]
    return [(n, entry["payload"]) for n, entry in entries if entry["kind"] != Kind.BEAT]


def test_what_has_waited_for_long_is_written_again_where_it_is_lost(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "_KEPT_S", 1.0)
    one = start(redis)
    redis.kill()
    numbers = []
    for text in "abc":
        one.put(Kind.PREPARED, [text])
        numbers.append(one.position)
    expected = list(zip(numbers, [["a"], ["b"], ["c"]], strict=True))
    time.sleep(1.2)  # longer than what was written is kept
    redis.start()
    wait_until(lambda: written(redis) == expected)
    monkeypatch.setattr(publisher, "_KEPT_S", 60.0)
    redis.away(0)
    wait_until(lambda: written(redis) == expected)
    one.close(1)


def test_a_second_hub_silences_the_first(redis: RedisServer) -> None:
    old, new = start(redis), start(redis)
    new.put(Kind.PREPARED, ["new"])
    wait_until(lambda: old.is_stale)
    old.put(Kind.PREPARED, ["old"])
    new.close(5)
    old.close(5)
    assert [payload for _, payload in written(redis)] == [["new"]]
    assert [error.code for error in old.troubles()] == ["stale_hub"]
    assert list(new.troubles()) == []
