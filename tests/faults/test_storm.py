"""Many clients load, cancel, unload and predict at random: only documented answers, and a consistent end."""

from __future__ import annotations

from tests.support.ids import LLAMA
from tests.support.invariants import check_invariants
from tests.support.random_calls import Crowd, unreadable
from tests.support.server import Server, wait_until

ENDED = ("ready", "failed", "cancelled", "absent", "unloaded")


def test_a_storm_of_calls_is_answered_as_documented_and_ends_consistent(empty_server: Server) -> None:
    server = empty_server
    check_invariants(server)
    read = len(server.log())
    crowd = Crowd(server, clients=16, calls=100, seed=1)
    crowd.run(timeout_s=240)
    assert not crowd.objections, "\n".join(crowd.objections[:10])
    assert crowd.answers["load 202"] > 10, "a storm without loads"
    assert crowd.answers["predict 200"] > 0, "a storm without predictions"
    for load_id in crowd.loads:
        wait_until(lambda i=load_id: server.get(f"/api/loads/{i}").json()["state"] in ENDED)
    check_invariants(server)
    assert not (why := unreadable(server.log()[read:], len(crowd.loads))), why
    assert server.load(LLAMA)["state"] == "ready"  # it still works
    server.unload_all()
    check_invariants(server)
