"""Web processes follow the hub over Redis: nothing is lost, whoever of them is away for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from modelhub.payloads import Snapshot
from modelhub.progress import publisher
from modelhub.states import State
from modelhub.web import follower, mirror
from modelhub.web.hub import FENCE_HEADER, MIRROR
from tests.support.following import Following, Served
from tests.support.redis_server import RedisServer
from tests.support.server import free_port, wait_until
from tests.support.truth import check_truth
from tests.support.types import MakeApp

MODEL = "demo/random-0.1gb"
Serve = Callable[..., Served]
Follow = Callable[..., Following]


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A Redis of the test's own."""
    running = RedisServer().start()
    yield running
    running.kill()


@pytest.fixture
def serve(redis: RedisServer, make_app: MakeApp) -> Iterator[Serve]:
    """Starts hubs in this process: ``serve(NAME=value)``."""
    served: list[Served] = []

    def start(**settings: Any) -> Served:
        given = {"REDIS": redis.url, "PORT": free_port(), **settings}
        served.append(Served(make_app(**given)))
        return served[-1]

    yield start
    for one in served:
        one.close()


@pytest.fixture
def follow(redis: RedisServer) -> Iterator[Follow]:
    """Begins to follow a hub: ``follow(hub)``."""
    following: list[Following] = []

    def start(hub: Served) -> Following:
        following.append(Following(redis.url, str(hub.app.secret_key)))
        return following[-1]

    yield start
    for one in following:
        one.close()


def fence_of(hub: Served) -> int:
    """The number of a hub, once it has one."""
    feed = hub.app.extensions["modelhub_publisher"]
    wait_until(lambda: feed.publisher.fence is not None)
    return int(feed.publisher.fence)


def codes(hub: Served) -> list[str]:
    """What is degraded at a hub."""
    return [error["code"] for error in hub.registry.degraded()]


def recorded(hub: Served) -> list[tuple[str, Snapshot]]:
    """Every event that the hub emits from now on."""
    events: list[tuple[str, Snapshot]] = []
    emit = hub.adapter._emit

    def record(name: Any, payload: Snapshot, rooms: list[str]) -> None:
        events.append((name, payload))
        emit(name, payload, rooms)

    hub.adapter._emit = record
    return events


def test_each_event_is_emitted_once_and_in_order(serve: Serve, follow: Follow) -> None:
    hub = serve()
    one = follow(hub).wait_live()
    told = recorded(hub)
    hub.load(MODEL)
    one.wait_for_ends(1)
    assert one.events == told
    check_truth([(str(name), dict(payload)) for name, payload in one.events if name != "model_load_queued"])
    assert one.mirror.adapter.snapshot(MODEL) == hub.adapter.snapshot(MODEL)
    assert one.mirror.models[MODEL]["state"] == State.READY
    assert one.mirror.adapter.trace(MODEL).lines == hub.adapter.trace(MODEL).lines


def test_who_follows_late_knows_what_was(serve: Serve, follow: Follow) -> None:
    hub = serve()
    hub.load("demo/random-0.5gb")
    hub.begin(MODEL)
    hub.step(MODEL, 4)
    late = follow(hub).wait_live()
    found = late.mirror
    known = hub.registry.models()
    assert list(found.models.values()) == [
        {
            **model,
            "snapshot": found.adapter.snapshot(model["id"]),
            "fits": found.models[model["id"]]["fits"],
        }
        for model in known
    ]
    assert [event.seq for event in found.adapter.log_of(MODEL).events] == [1, 2, 3]
    assert found.budget is not None
    assert found.budget.total == hub.registry.budget().total
    assert found.readiness is not None
    assert found.readiness["workers"] == hub.registry.readiness()["workers"]
    hub.end(MODEL)
    late.wait_for_ends(1)
    assert [payload["seq"] for _, payload in late.events] == [4]


def test_a_state_without_an_event_is_followed(serve: Serve, follow: Follow) -> None:
    hub = serve()
    one = follow(hub).wait_live()
    hub.load(MODEL)
    hub.adapter.unloading(MODEL)
    wait_until(lambda: one.mirror.models[MODEL]["state"] == State.UNLOADING)
    hub.adapter.dismiss(MODEL)
    wait_until(lambda: one.mirror.adapter.snapshot(MODEL)["state"] == State.ABSENT)
    assert one.mirror.adapter.trace(MODEL).lines == []
    hub.load(MODEL, "another")
    one.wait_for_ends(2)


def test_a_new_list_is_fetched(serve: Serve, follow: Follow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "_LIST_EVERY_S", 0.2)
    hub = serve()
    one = follow(hub).wait_live()
    before = one.changes
    folder = hub.registry.settings.models_dir / "new"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    hub.registry.catalogue.refresh()
    hub.registry.announce_change()
    wait_until(lambda: "new" in one.mirror.models)
    wait_until(lambda: one.changes > before)
    wait_until(lambda: one.mirror.list_version == hub.registry.list_version)


@pytest.mark.parametrize(
    "outage",
    [
        pytest.param(lambda redis: redis.away(2), id="killed, and started empty"),
        # Longer than a response is waited for: it comes, and is of a batch that is sent again.
        pytest.param(lambda redis: redis.hang(1.7), id="stopped"),
    ],
)
def test_an_outage_of_redis_loses_no_event(
    serve: Serve, follow: Follow, redis: RedisServer, outage: Callable[[RedisServer], None]
) -> None:
    hub = serve()
    both = [follow(hub).wait_live(), follow(hub).wait_live()]
    told = recorded(hub)
    stop = threading.Event()

    def load_on() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            hub.begin(MODEL, f"load{number}")
            for step in range(1, 10):
                hub.step(MODEL, step)
                time.sleep(0.01)
            hub.end(MODEL)

    loads = threading.Thread(target=load_on)
    loads.start()
    both[0].wait_for_ends(1)
    outage(redis)
    time.sleep(0.3)
    stop.set()
    loads.join()
    ends = len([name for name, _ in told if name == "model_load_completed"])
    assert ends > 3
    for one in both:
        one.wait_for_ends(ends)
        assert one.events == told, "none lost, none twice, in order"


def test_where_redis_stays_away_the_hub_says_so_and_goes_on(
    serve: Serve, follow: Follow, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "_AWAY_S", 0.3)
    monkeypatch.setattr(mirror, "LIVE_S", 1.6)
    hub = serve()
    one = follow(hub).wait_live()
    wait_until(lambda: one.lives == [True])
    redis.kill()
    wait_until(lambda: codes(hub) == ["redis_away"])
    hub.load(MODEL)
    assert hub.adapter.snapshot(MODEL)["state"] == State.READY
    wait_until(lambda: one.lives == [True, False])
    redis.start()
    one.wait_for_ends(1)
    wait_until(lambda: codes(hub) == [])
    wait_until(lambda: one.lives == [True, False, True])


def test_a_hub_that_was_replaced_stops_and_says_so(serve: Serve, follow: Follow) -> None:
    old = serve()
    one = follow(old).wait_live()
    old_fence = fence_of(old)
    new = serve()
    assert fence_of(new) > old_fence
    assert new.app.secret_key == old.app.secret_key
    wait_until(lambda: codes(old) == ["stale_hub"])
    wait_until(lambda: one.mirror.fence == fence_of(new))
    old.load(MODEL)
    new.load(MODEL)
    one.wait_for_ends(1)
    assert {payload["epoch"] for _, payload in one.events} == {new.registry.epoch}
    assert codes(new) == []
    # Commands are for one hub.
    for hub, fence in ((old, old_fence), (new, old_fence), (old, fence_of(new))):
        refused = hub.app.test_client().get("/api/memory", headers={FENCE_HEADER: str(fence)})
        assert (refused.status_code, refused.get_json()["error"]["code"]) == (503, "stale_hub")
    accepted = new.app.test_client().get("/api/memory", headers={FENCE_HEADER: str(fence_of(new))})
    assert accepted.status_code == 200


def test_the_loads_of_a_hub_that_was_killed_end_as_interrupted(serve: Serve, follow: Follow) -> None:
    old = serve()
    one = follow(old).wait_live()
    old.begin(MODEL)
    old.step(MODEL, 5)
    old.load("demo/random-0.5gb")
    one.wait_for_ends(1)
    wait_until(lambda: len(one.of("model_load_progress")) == 10)
    stream = one.mirror.adapter.log_of(MODEL)
    new = serve()
    one.wait_for_ends(2)
    failed = one.of("model_load_failed")[-1]
    assert (failed["epoch"], failed["state"], failed["load_id"]) == (
        old.registry.epoch,
        "interrupted",
        "load",
    )
    assert failed["error"] is not None
    assert (failed["error"]["code"], failed["error"]["step"]) == ("interrupted", 5)
    assert [event.seq for event in stream.after(failed["seq"] - 2, 0)] == [failed["seq"] - 1, failed["seq"]]
    wait_until(lambda: one.of("model_unloaded"))
    (unloaded,) = one.of("model_unloaded")
    assert (unloaded["id"], unloaded["state"]) == ("demo/random-0.5gb", "absent")
    wait_until(lambda: one.mirror.adapter.epoch == new.registry.epoch)
    assert one.mirror.adapter.snapshot(MODEL)["epoch"] == new.registry.epoch


def test_what_the_stream_no_longer_has_is_fetched(serve: Serve, follow: Follow, redis: RedisServer) -> None:
    hub = serve()
    one = follow(hub).wait_live()
    told = recorded(hub)
    feed = hub.app.extensions["modelhub_publisher"]
    feed.publisher._most = 5
    redis.kill()
    hub.load(MODEL)
    assert feed.publisher.dropped
    redis.start()
    one.wait_for_ends(1)
    assert one.events == told, "the hub had kept them all"


def test_a_server_without_the_key_gets_no_mirror(serve: Serve) -> None:
    hub = serve(TOKEN="a-token-of-its-own")
    refused = hub.app.test_client().get(MIRROR)
    assert (refused.status_code, refused.get_json()["error"]["code"]) == (401, "unauthorized")


def test_with_a_token_the_mirror_is_there_all_the_same(serve: Serve, follow: Follow) -> None:
    hub = serve(TOKEN="a-token-of-its-own")
    follow(hub).wait_live()


def test_a_hub_starts_without_redis_and_takes_the_common_key_later(
    serve: Serve, follow: Follow, redis: RedisServer
) -> None:
    common = str(serve().app.secret_key)
    redis.kill()
    hub = serve()
    assert hub.app.secret_key != common
    redis.start()
    redis.client().set("modelhub:secret", common)
    wait_until(lambda: hub.app.secret_key == common)
    kept = hub.registry.settings.data_dir / "secret_key"
    assert kept.read_text() == common
    follow(hub).wait_live()
