"""Real watchers at real web processes, while Redis or the hub is killed and comes back."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import requests

from tests.support.crowd import Crowd, Seen
from tests.support.redis_server import RedisServer
from tests.support.server import Server, wait_until
from tests.support.truth import TERMINAL, must_arrive
from tests.support.web_process import WebProcess

MODEL = "demo/random-0.1gb"


@dataclass
class Site:
    """A hub with two web processes, and a hundred watchers of the model at each of them."""

    redis: RedisServer
    hub: Server
    webs: list[WebProcess]
    crowd: Crowd


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    redis = RedisServer().start()
    hub = Server(folder / "hub", REDIS=redis.url)
    webs = [WebProcess(folder / name, redis.url) for name in ("one", "two")]
    crowd: Crowd | None = None
    try:
        for server in (hub, *webs):
            server.start()
        hub.wait_warm().load(MODEL)
        for web in webs:
            web.wait_live()
        crowd = Crowd([web.port for web in webs], MODEL, 100)
        yield Site(redis, hub, webs, crowd)
    finally:
        if crowd is not None:
            crowd.close()
        for server in (*webs, hub):
            if server.process is not None:
                server.stop()
        redis.kill()


def emitted(hub: Server, load_id: str) -> list[Seen]:
    """The events of a load that has ended, as the hub has kept them."""
    events: list[Seen] = []
    with requests.get(f"{hub.url}/api/loads/{load_id}/events", stream=True, timeout=30) as response:
        name = ""
        for line in response.iter_lines(decode_unicode=True):
            field, _, value = line.partition(": ")
            name = value if field == "event" else name
            if field == "data":
                payload = json.loads(value)
                events.append((payload["seq"], name, payload["load_id"], payload["step"]))
    return events


def test_redis_killed_for_two_seconds_costs_two_hundred_watchers_no_event(site: Site) -> None:
    hub = site.hub
    hub.unload_all()
    away = threading.Thread(target=site.redis.away, args=(2,))
    loads: list[str] = []
    while not loads or away.is_alive():
        loads.append(hub.request_load(MODEL)["load_id"])
        if len(loads) == 1:
            away.start()  # in the middle of this load
        hub.wait_state(MODEL, ("ready",))
        hub.unload_all()
    loads.append(hub.load(MODEL)["load_id"])
    site.crowd.wait_for_end(loads[-1], TERMINAL)
    told = [event for load_id in loads for event in emitted(hub, load_id)]
    # To who reads slowly, the fan-out sends the newest progress of a step only.
    needed = must_arrive([[*event] for event in told])
    for seen in site.crowd.seen:
        of_loads = [one for one in seen if one[1].startswith("model_load_") and one[2] in loads]
        seqs = [one[0] for one in of_loads]
        assert seqs == sorted(set(seqs)), "in order, none twice"
        assert needed <= set(seqs), "none is lost"
        assert set(of_loads) <= set(told)


def test_the_watchers_of_a_load_whose_hub_was_killed_see_its_end(site: Site) -> None:
    hub = site.hub
    hub.unload_all()
    hub.freeze_load(MODEL)
    load_id = hub.snapshot(MODEL)["load_id"]
    epoch = hub.snapshot(MODEL)["epoch"]
    hub.kill()
    hub.start()
    site.crowd.wait_for_end(load_id, TERMINAL)
    for seen in site.crowd.seen:
        assert [name for _, name, load, _ in seen if load == load_id][-1] == "model_load_failed"
    for web in site.webs:
        wait_until(lambda web=web: web.snapshot(MODEL)["epoch"] != epoch)
        snapshot = web.snapshot(MODEL)
        assert (snapshot["state"], snapshot["error"]["code"]) == ("interrupted", "interrupted")
