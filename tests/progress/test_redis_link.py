"""The link to Redis: the numbers of hubs, the common key, and settings that cannot be used."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelhub.errors import ModelhubError
from modelhub.progress.redis_link import FENCE, Address, Position, connect, shared_secret, take_fence
from tests.support.redis_server import RedisServer
from tests.support.server import ROOT, free_port


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    running = RedisServer().start()
    yield running
    running.kill()


def test_each_hub_has_a_larger_number_than_all_before_it(redis: RedisServer) -> None:
    client = redis.client()
    first, second = take_fence(client), take_fence(client)
    client.flushall()
    time.sleep(0.005)  # the clock is in milliseconds, and no hub starts in so few
    third = take_fence(client)
    assert first < second < third, "also where Redis has lost its data"
    client.set(FENCE, third + 10**9)  # by a clock that was ahead
    assert take_fence(client) == third + 10**9 + 1


def test_the_first_hub_makes_the_key_of_all(redis: RedisServer) -> None:
    redis.client().flushall()
    assert shared_secret(redis.url) is None
    assert shared_secret(redis.url, "first") == "first"
    assert shared_secret(redis.url, "second") == "first"
    assert shared_secret(redis.url) == "first"


def test_without_redis_there_is_no_common_key() -> None:
    assert shared_secret(f"redis://127.0.0.1:{free_port()}", "own") is None


def test_an_address_and_a_position_are_read_as_they_were_written() -> None:
    address = Address("http://127.0.0.1:5000", "0123456789ab", 7)
    assert Address.from_json(address.to_json()) == address
    assert Position.of(str(Position(7, 12))) == (7, 12)


def test_what_is_no_address_is_refused_and_its_password_not_repeated() -> None:
    with pytest.raises(ModelhubError) as caught:
        connect("redis://:hidden@127.0.0.1:port/0")
    assert caught.value.code == "bad_setting"
    assert "MODELHUB_REDIS" in caught.value.message
    assert "hidden" not in caught.value.message + caught.value.hint


def test_without_the_package_only_a_server_with_redis_is_refused(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['redis'] = None\n"
        "from modelhub import create_app\n"
        "from modelhub.errors import ModelhubError\n"
        f"settings = {{'MODELHUB_DATA_DIR': {str(tmp_path)!r}}}\n"
        "print(create_app(settings).test_client().get('/livez').status_code)\n"
        "try:\n"
        "    create_app({**settings, 'MODELHUB_REDIS': 'redis://127.0.0.1:1'})\n"
        "except ModelhubError as error:\n"
        "    print(error.code, error.message, error.hint)\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    lines = done.stdout.splitlines()
    assert lines[0] == "200"
    assert lines[1].startswith("bad_setting")
    assert "requirements-cluster.txt" in lines[1]
