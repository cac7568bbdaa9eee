"""Memory runs short: before a load, in the middle of one, and while others load; idle models leave for it."""

from __future__ import annotations

import re
import resource
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from modelhub.core.unloading import JUST_READY_S
from modelhub.memory import anonymous_bytes
from tests.support import models
from tests.support.forms import Visitor
from tests.support.ids import LLAMA
from tests.support.invariants import check_invariants
from tests.support.server import Server, wait_until
from tests.support.truth import check_truth
from tests.support.types import StartServer, Watch

# Each takes 205 MB as float32, which is converted: so its memory is no page cache.
A, B, C = "large/a", "large/b", "large/c"
_VOCABULARY = 400_000
NEED = 206 * 10**6
ROOM = 60 * 10**6  # for what a process takes besides


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server where idle models leave, which loads two at once; a test says how much memory there is."""
    folder = tmp_path_factory.mktemp("small")
    for model_id in (A, B, C):
        models.make_sparse_llama(folder / "models" / model_id, _VOCABULARY)
    models.make_sparse_llama(folder / "models" / "large" / "huge", 100 * _VOCABULARY)
    models.make_llama(folder / "models" / LLAMA)
    settings = {"MAX_CONCURRENT_LOADS": 2, "DTYPE": "float32", "EVICT": "on", "STALL_SECONDS": 60}
    server = Server(folder / "data", MODELS_DIR=folder / "models", **settings)
    server.command = ["-m", "tests.support.small_memory_server"]
    give(server, 4 * NEED)
    server.start().wait_warm()
    yield server
    server.stop()


@pytest.fixture
def small(machine: Server) -> Server:
    """The same, with no model in memory and a process for the next load."""
    machine.unload_all()
    machine.wait_spare()
    return machine


def give(server: Server, size: int) -> None:
    """Let the machine have so many bytes for models."""
    (server.data_dir / "memory").write_text(str(size))


def let_age(server: Server) -> None:
    """Wait until a model that has just become ready may leave."""
    began = time.monotonic()
    wait_until(lambda: time.monotonic() - began > JUST_READY_S + 0.1)


def freeze_when(server: Server, model_id: str, has_come: Callable[[int], bool]) -> psutil.Process:
    """Load a model and stop its process once what it has taken is enough for ``has_come``."""
    process = server.wait_spare()
    before = anonymous_bytes(process.pid)
    server.request_load(model_id)
    deadline = time.monotonic() + 30
    while not has_come(anonymous_bytes(process.pid) - before):
        assert time.monotonic() < deadline
        time.sleep(0.0005)
    process.suspend()
    assert server.snapshot(model_id)["state"] == "loading"
    return process


def parts(server: Server) -> dict[str, int]:
    """The parts of the memory, which add up."""
    found: dict[str, int] = server.get("/api/memory").json()
    assert found["models"] + found["loading"] + found["other"] + found["free"] == found["total"]
    return found


# Two loads at once


def test_two_loads_that_fit_together_are_admitted_also_when_one_has_taken_its_part(small: Server) -> None:
    give(small, 2 * NEED + ROOM)
    process = freeze_when(small, A, lambda taken: taken > NEED // 2)
    memory = parts(small)
    assert memory["loading"] == pytest.approx(NEED, rel=0.02)
    assert memory["free"] == pytest.approx(NEED + ROOM, abs=ROOM // 2), "what A has taken counts once"
    assert small.load(B)["state"] == "ready"
    process.resume()
    assert small.wait_state(A, ("ready", "failed"))["state"] == "ready"
    assert parts(small)["free"] < ROOM
    check_invariants(small)


def test_two_loads_that_fit_alone_and_not_together_the_second_is_refused_with_the_numbers(
    small: Server,
) -> None:
    give(small, NEED + NEED // 2)
    process = freeze_when(small, A, lambda taken: taken > NEED // 4)
    error = small.load(B)["error"]
    assert error["code"] == "no_memory"
    assert re.fullmatch(r"large/b needs 205 MB of memory, (9|10)\d(\.\d)? MB are free\.", error["message"])
    assert error["hint"].startswith("large/a, which is loading, has reserved 205 MB.")
    process.resume()
    assert small.wait_state(A, ("ready", "failed"))["state"] == "ready", "nothing was killed"
    check_invariants(small)


# Idle models leave


def test_the_least_recently_used_model_leaves_for_a_load_and_no_more_than_are_needed(
    small: Server, watch: Watch
) -> None:
    give(small, 2 * NEED + ROOM)
    for model_id in (A, LLAMA, B):
        assert small.load(model_id)["state"] == "ready"
    let_age(small)
    small.post("/api/predictions", {"model": A, "inputs": "x", "parameters": {"max_new_tokens": 1}})
    watcher = watch(small)
    watcher.subscribe()
    assert small.load(C)["state"] == "ready"
    left = watcher.wait_for("model_unloaded")
    assert (left["id"], left["by"], left["error"]) == (B, f"room for {C}", None)
    assert left["freed"] == pytest.approx(NEED, rel=0.2)
    for model_id in (A, LLAMA):
        assert small.snapshot(model_id)["state"] == "ready", "it was used later, or would not have helped"
    assert f"{B} was unloaded (room for {C}): " in small.log()
    assert f"Unloaded to make room for {C}" in Visitor(small).open(f"/models/{B}").text
    check_invariants(small)


def test_a_model_that_predicts_loads_or_has_just_become_ready_never_leaves(small: Server) -> None:
    give(small, 2 * NEED + ROOM)
    assert small.load(A)["state"] == "ready"
    let_age(small)
    (busy,) = small.workers()
    busy.suspend()
    answers: list[Any] = []
    request = {"model": A, "inputs": "x", "parameters": {"max_new_tokens": 1}}
    thread = threading.Thread(target=lambda: answers.append(small.post("/api/predictions", request)))
    thread.start()
    try:
        loading = freeze_when(small, B, lambda taken: taken > NEED // 4)
        assert small.load(C)["error"]["code"] == "no_memory"
        loading.resume()
        assert small.wait_state(B, ("ready", "failed"))["state"] == "ready"
        assert small.load(C)["error"]["code"] == "no_memory", "B is ready for a moment only"
    finally:
        busy.resume()
    thread.join(30)
    assert answers[0].status_code == 200, answers[0].text
    assert [small.snapshot(model_id)["state"] for model_id in (A, B)] == ["ready", "ready"]
    check_invariants(small)


def test_no_model_leaves_where_that_would_not_be_enough(small: Server) -> None:
    give(small, 2 * NEED + ROOM)
    for model_id in (A, LLAMA):
        small.load(model_id)
    let_age(small)
    assert small.load("large/huge")["error"]["code"] == "no_memory"
    assert [small.snapshot(model_id)["state"] for model_id in (A, LLAMA)] == ["ready", "ready"]
    check_invariants(small)


def test_a_model_that_nobody_uses_leaves_after_the_idle_seconds(
    start_server: StartServer, watch: Watch
) -> None:
    server = start_server(IDLE_SECONDS=0.5).wait_warm()
    server.load(LLAMA)
    watcher = watch(server)
    watcher.subscribe()
    left = watcher.wait_for("model_unloaded", timeout_s=20)
    assert (left["id"], left["by"], left["state"]) == (LLAMA, "idle for 0.5 s", "absent")
    assert "Unloaded since nobody used it for 0.5 s" in Visitor(server).open(f"/models/{LLAMA}").text
    check_invariants(server)


# Memory runs out in the middle of a load


# The file is mapped and the first of the two large tensors converted; for the second there is no memory.
ENOUGH_FOR_A_PART = NEED // 2 + NEED * 3 // 4


def limit(process: psutil.Process, room_bytes: int | None) -> None:
    """Let a process, and those that it forks, take so much more memory and no more."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    used = int(re.findall(r"VmData:\s*(\d+)", status)[0]) * 1024
    most = resource.RLIM_INFINITY
    resource.prlimit(
        process.pid, resource.RLIMIT_DATA, (most if room_bytes is None else used + room_bytes, most)
    )


def test_where_memory_runs_out_in_a_load_an_idle_model_leaves_and_it_is_tried_once_more(
    small: Server, watch: Watch
) -> None:
    give(small, 4 * NEED)
    small.load(A)
    let_age(small)
    watcher = watch(small)
    watcher.subscribe(B)
    limit(small.wait_spare(), ENOUGH_FOR_A_PART)
    load_id = small.request_load(B)["load_id"]
    ready = small.wait_state(B, ("ready", "failed"))
    assert (ready["state"], ready["load_id"]) == ("ready", load_id), ready["error"]
    assert small.snapshot(A)["by"] == f"room for {B}"
    watcher.wait_for("model_load_completed")
    check_truth(watcher.events, with_gaps=True)
    assert "was rejected" not in small.log(), "no event went back"
    assert any("second attempt" in (payload["detail"] or "") for _, payload in watcher.events)
    assert (
        len(
            re.findall(
                f"{B} ran out of memory at step 5 .*: trying once more, since {A} has left", small.log()
            )
        )
        == 1
    )
    check_invariants(small)


def test_where_memory_runs_out_twice_the_load_fails_and_the_server_goes_on(
    small: Server, watch: Watch
) -> None:
    give(small, 4 * NEED)
    small.load(A)
    let_age(small)
    watcher = watch(small)
    watcher.subscribe(B)
    small.wait_spare()
    processes = [small.zygote(), small.wait_spare()]
    try:
        for process in processes:
            limit(process, ENOUGH_FOR_A_PART)
        failed = small.load(B)
    finally:
        limit(processes[0], None)
    assert failed["state"] == "failed"
    assert failed["error"]["code"] == "out_of_memory"
    assert small.snapshot(A)["state"] == "absent"
    watcher.wait_for("model_load_failed")
    check_truth(watcher.events, with_gaps=True)
    wait_until(lambda: small.get("/readyz").json()["workers"]["state"] == "warm")
    if (spare := small.spare()) is not None:
        limit(spare, None)
    assert small.load(B)["state"] == "ready"
    check_invariants(small)


def test_where_no_model_is_idle_the_load_fails_at_once(small: Server) -> None:
    give(small, 4 * NEED)
    limit(small.wait_spare(), ENOUGH_FOR_A_PART)
    failed = small.load(B)
    assert failed["error"]["code"] == "out_of_memory"
    assert small.load(B)["state"] == "ready"
    check_invariants(small)
