"""The server's log has a line for the beginning and the end of each load."""

from __future__ import annotations

import re

import pytest

from tests.support.ids import BERT, LLAMA, VIT
from tests.support.server import Server, wait_until
from tests.support.types import StartServer


@pytest.fixture
def own(start_server: StartServer) -> Server:
    return start_server().wait_warm()


def lines(server: Server) -> list[str]:
    """The lines about loads, without time and load ids."""
    found = re.findall(r"^\S+ \S+ (\w+ modelhub\.loads: .*)$", server.log(), re.MULTILINE)
    return [re.sub(r"load [0-9a-f]{16}", "load ID", line) for line in found]


def test_a_load_that_succeeds_and_its_unload(own: Server) -> None:
    own.load(LLAMA)
    own.delete(f"/api/models/{LLAMA}")
    begin, ready, unloaded = lines(own)
    assert begin == f"INFO modelhub.loads: Loading {LLAMA} (load ID, by rest)"
    ready_in = rf"INFO modelhub.loads: {LLAMA} is ready after .* m?s: 233 kB from disk, bfloat16 on cpu"
    assert re.fullmatch(ready_in, ready)
    assert re.fullmatch(rf"INFO modelhub.loads: {LLAMA} was unloaded \(by rest\): .* freed", unloaded)
    assert own.snapshot(LLAMA)["load_id"] in own.log()


def test_a_load_that_fails_and_a_loaded_model_that_is_killed(own: Server) -> None:
    error = own.load("no/such-model")["error"]
    expected = (
        rf"no/such-model failed at step 1 after \d.* m?s: {error['code']}: {re.escape(error['message'])}"
    )
    assert re.fullmatch(f"WARNING modelhub.loads: {expected}", lines(own)[1])
    own.kill_load(BERT)
    killed = rf"WARNING modelhub.loads: {BERT} failed at step \d after \d.* m?s: killed: .*"
    assert [bool(re.fullmatch(killed, line)) for line in lines(own)[2:]] == [False, True], (
        "one line for its end"
    )
    own.load(LLAMA)
    own.workers()[0].kill()
    wait_until(lambda: own.snapshot(LLAMA)["state"] == "failed")
    assert lines(own)[-1].startswith(f"WARNING modelhub.loads: {LLAMA} failed once loaded: killed: ")


def test_loads_that_are_cancelled_and_one_that_the_end_of_the_server_interrupts(own: Server) -> None:
    own.freeze_load(LLAMA)
    own.request_load(BERT)
    for model_id in (BERT, LLAMA):
        own.delete(f"/api/loads/{own.snapshot(model_id)['load_id']}")
    assert lines(own)[1] == (f"INFO modelhub.loads: {BERT} was cancelled before its first step (by rest)")
    assert re.fullmatch(
        rf"INFO modelhub.loads: {LLAMA} was cancelled at step \d after \d.* m?s \(by rest\)", lines(own)[2]
    )
    own.freeze_load(VIT)
    own.stop()
    assert re.fullmatch(
        rf"INFO modelhub.loads: {VIT} was interrupted at step \d after \d.* m?s: the server is shutting down",
        lines(own)[-1],
    )
