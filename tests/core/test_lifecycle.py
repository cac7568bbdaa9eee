"""Loads on a real server: joined, queued, cancelled, killed, unloaded, interrupted."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from flask import Flask

from modelhub.config import read_settings
from modelhub.core.registry import Registry
from modelhub.progress import logs
from modelhub.web.current import registry_of
from tests.support.forms import Visitor
from tests.support.ids import BERT, LLAMA, SPEECH, VIT
from tests.support.server import Server, wait_until
from tests.support.truth import check_truth
from tests.support.types import StartServer, Watch


@pytest.mark.parametrize("model_id", [LLAMA, BERT, VIT, SPEECH])
def test_a_load_is_emitted_from_start_to_end(empty_server: Server, watch: Watch, model_id: str) -> None:
    watcher = watch(empty_server)
    assert watcher.subscribe(model_id)["snapshot"] == empty_server.snapshot(model_id)
    load = empty_server.request_load(model_id)
    done = watcher.wait_for("model_load_completed", "model_load_failed")
    assert done["state"] == "ready", done["error"]
    check_truth(watcher.events, with_gaps=True)
    assert {payload["load_id"] for _, payload in watcher.events} == {load["load_id"]}
    files = list((Path(empty_server.environ["MODELHUB_MODELS_DIR"]) / model_id).glob("*.safetensors"))
    assert 0 < done["bytes"] <= sum(path.stat().st_size for path in files)
    assert all(seconds is not None for seconds in done["steps"])
    row = empty_server.get(f"/api/loads/{load['load_id']}").json()
    assert (row["state"], row["bytes"], row["steps"]) == ("ready", done["bytes"], done["steps"])


def test_a_load_on_a_cold_server_counts_what_it_waits_for(start_server: StartServer, watch: Watch) -> None:
    server = start_server()
    watcher = watch(server)
    watcher.subscribe(LLAMA)
    server.request_load(LLAMA)
    watcher.wait_for("model_load_completed")
    check_truth(watcher.events, with_gaps=True)
    waits = [payload for _, payload in watcher.events if payload["unit"] == "modules"]
    assert {(wait["step"], wait["detail"]) for wait in waits} == {(1, "importing torch and transformers")}
    counts = [wait["done"] for wait in waits]
    assert counts == sorted(counts)
    assert len(set(counts)) >= 5, "it moves"
    assert counts[-1] < waits[-1]["size"] < 1.5 * counts[-1], "as far as the import"
    after = [payload["unit"] for _, payload in watcher.events[len(waits) + 1 :]]
    assert "modules" not in after, "and then the load has begun"


def test_a_second_request_joins_and_a_third_finds_it_ready(empty_server: Server) -> None:
    worker = empty_server.freeze_load(LLAMA)
    first = empty_server.get(f"/api/loads?model={LLAMA}&limit=1").json()["loads"][0]
    joined = empty_server.post("/api/loads", {"model": LLAMA})
    assert (joined.status_code, joined.json()["load_id"]) == (200, first["load_id"])
    worker.resume()
    empty_server.wait_state(LLAMA, ("ready",))
    again = empty_server.post("/api/loads", {"model": LLAMA})
    assert (again.status_code, again.json()["load_id"]) == (200, first["load_id"])
    assert len(empty_server.workers()) == 1


def test_a_load_has_the_data_type_and_device_of_its_request(empty_server: Server) -> None:
    loads = {}
    for dtype in ("float32", "bfloat16", None):
        chosen = {} if dtype is None else {"dtype": dtype, "device": "cpu"}
        load = empty_server.request_load(LLAMA, **chosen)
        requested = (dtype, "cpu") if dtype else ("auto", "auto")
        assert (load["requested_dtype"], load["requested_device"]) == requested
        ready = empty_server.wait_state(LLAMA, ("ready", "failed"))
        assert (ready["dtype"], ready["device"]) == (dtype or "bfloat16", "cpu")
        loads[dtype] = empty_server.get(f"/api/loads/{load['load_id']}").json()
        inputs = {"model": LLAMA, "inputs": "hello", "parameters": {"max_new_tokens": 2}}
        assert empty_server.post("/api/predictions", inputs).ok
        empty_server.unload_all()
    assert [row["dtype"] for row in loads.values()] == ["float32", "bfloat16", "bfloat16"]


def test_a_request_with_another_data_type_is_refused_and_not_joined(empty_server: Server) -> None:
    empty_server.load(LLAMA)
    for same in ({}, {"dtype": "bfloat16"}, {"dtype": "auto", "device": "cpu"}):
        assert empty_server.post("/api/loads", {"model": LLAMA, **same}).status_code == 200
    other = empty_server.post("/api/loads", {"model": LLAMA, "dtype": "float32"})
    error = other.json()["error"]
    assert (other.status_code, error["code"]) == (409, "wrong_state")
    assert error["message"] == f"{LLAMA} is ready: Its data type is bfloat16, not float32."
    assert error["hint"] == "Unload it first."
    empty_server.freeze_load(BERT)
    while_loading = empty_server.post("/api/loads", {"model": BERT, "device": "cpu"}).json()["error"]
    assert while_loading["message"] == f"{BERT} is loading: Its device is auto, not cpu."
    assert while_loading["hint"] == "Cancel that load first."


@pytest.mark.parametrize(
    ("chosen", "code"),
    [
        ({"dtype": "int8"}, "invalid_request"),
        ({"device": "tpu"}, "invalid_request"),
        ({"device": "cuda:x"}, "invalid_request"),
        ({"device": "cuda:99"}, "no_device"),
    ],
)
def test_a_data_type_or_device_that_cannot_be_used_is_refused_before_the_load(
    empty_server: Server, chosen: dict[str, str], code: str
) -> None:
    before = empty_server.get("/api/loads").json()["total"]
    response = empty_server.post("/api/loads", {"model": LLAMA, **chosen})
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (422, code)
    assert error["hint"]
    assert empty_server.get("/api/loads").json()["total"] == before


def test_the_spare_worker_takes_the_load_and_another_one_is_made(empty_server: Server) -> None:
    spare = empty_server.wait_spare()
    assert empty_server.load(LLAMA)["state"] == "ready"
    assert [process.pid for process in empty_server.workers()] == [spare.pid]
    assert empty_server.wait_spare().pid != spare.pid
    inputs = {"model": LLAMA, "inputs": "hello", "parameters": {"max_new_tokens": 3}}
    assert empty_server.post("/api/predictions", inputs).ok


def test_a_client_that_asks_after_a_request_sees_its_load(models_dir: Path, tmp_path: Path) -> None:
    settings = read_settings({"MODELHUB_DATA_DIR": str(tmp_path), "MODELHUB_MODELS_DIR": str(models_dir)})
    emitted: list[str] = []

    def start_late(work: Callable[..., None], *args: Any) -> None:
        threading.Timer(0.3, work, args).start()

    registry = Registry(settings, start_late, lambda name, payload, rooms: emitted.append(name))
    try:
        load, _ = registry.lifecycle.start(LLAMA, by="rest")
        assert emitted
        assert registry.snapshot(LLAMA)["state"] == load["snapshot"]["state"] == "loading"
    finally:
        registry.close()


def test_the_loads_of_models_that_were_forgotten_are_in_the_journal_only(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "KEPT_MODELS", 2)
    registry = registry_of(app)
    ids = []
    for number in range(6):  # each fails, since there is no zygote here
        load, _ = registry.lifecycle.start(f"org/m{number}", by="rest")
        ids.append(load["load_id"])
        started = registry.lifecycle._loads.latest[f"org/m{number}"]
        assert started.process_exited.wait(10)
    assert len(registry.lifecycle._loads.latest) <= 3
    assert [registry.load(load_id)["state"] for load_id in ids] == ["failed"] * 6
    assert registry.load(ids[0])["snapshot"] is None
    assert registry.load(ids[-1])["snapshot"] is not None


def test_many_unknown_ids_leave_little_behind(app: Flask) -> None:
    registry = registry_of(app)
    for number in range(250):  # each fails, since there is no zygote here
        registry.lifecycle.start(f"nobody/m{number}", by="rest")
        assert registry.lifecycle._loads.latest[f"nobody/m{number}"].process_exited.wait(10)
    sockets = app.extensions["socketio"].server
    known = registry.adapter.known()
    assert len(known) == len(registry.adapter._logs._logs) <= logs.KEPT_UNFOUND
    assert len(registry.lifecycle._loads.latest) <= logs.KEPT_UNFOUND + 1
    assert len(registry.listing.touched()) <= logs.KEPT_UNFOUND
    assert not sockets.manager._steps
    assert registry.journal.count() == 250  # the history has them


def test_the_others_wait_in_the_queue_with_their_positions(empty_server: Server, watch: Watch) -> None:
    watcher = watch(empty_server)
    watcher.subscribe()
    worker = empty_server.freeze_load(LLAMA)
    for model_id in (BERT, VIT, SPEECH):
        empty_server.request_load(model_id)
    wait_until(lambda: empty_server.snapshot(SPEECH)["queue_position"] == 3)
    assert [empty_server.snapshot(m)["queue_position"] for m in (BERT, VIT)] == [1, 2]
    empty_server.delete(f"/api/loads/{empty_server.snapshot(BERT)['load_id']}")
    wait_until(lambda: empty_server.snapshot(SPEECH)["queue_position"] == 2)
    worker.resume()
    watcher.wait_for("model_load_completed", model_id=SPEECH)
    ended = [payload["id"] for name, payload in watcher.events if name == "model_load_completed"]
    assert ended == [LLAMA, VIT, SPEECH]
    cancelled = watcher.of(BERT)[-1]
    assert (cancelled[0], cancelled[1]["by"]) == ("model_load_cancelled", "rest")
    assert "model_load_started" not in [name for name, _ in watcher.of(BERT)]


def test_two_loads_at_once_never_mix(start_server: StartServer, watch: Watch) -> None:
    server = start_server(MAX_CONCURRENT_LOADS=2).wait_warm()
    watcher = watch(server)
    watcher.subscribe()
    first = server.freeze_load(LLAMA)
    second = server.freeze_load(BERT)
    first.resume()
    second.resume()
    for model_id in (LLAMA, BERT):
        watcher.wait_for("model_load_completed", model_id=model_id)
        check_truth(watcher.of(model_id), with_gaps=True)
        assert watcher.of(model_id)[-1][1]["architecture"].lower().startswith(model_id.removeprefix("tiny/"))


def test_a_cancel_in_mid_load_ends_within_a_second_and_nothing_follows(
    empty_server: Server, watch: Watch
) -> None:
    watcher = watch(empty_server)
    watcher.subscribe(LLAMA)
    worker = empty_server.freeze_load(LLAMA)
    load_id = empty_server.snapshot(LLAMA)["load_id"]
    response = empty_server.delete(f"/api/loads/{load_id}")
    assert (response.status_code, response.json()["state"]) == (200, "cancelled")
    assert response.elapsed.total_seconds() < 1
    assert watcher.wait_for("model_load_cancelled")["by"] == "rest"
    wait_until(lambda: not worker.is_running())
    check_truth(watcher.events, with_gaps=True)
    again = empty_server.delete(f"/api/loads/{load_id}")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "wrong_state")
    assert empty_server.load(LLAMA)["state"] == "ready"
    names = [name for name, payload in watcher.events if payload["load_id"] == load_id]
    assert names[-1] == "model_load_cancelled"


def test_a_demo_cancelled_while_it_is_made_leaves_nothing_on_the_disk(
    empty_server: Server, watch: Watch
) -> None:
    watcher = watch(empty_server)
    watcher.subscribe("demo/random-0.5gb")
    load_id = empty_server.request_load("demo/random-0.5gb")["load_id"]
    watcher.wait_until(lambda events: events and events[-1][1]["step"] == 3 and events[-1][1]["done"])
    folder = empty_server.data_dir / "demo" / "demo"
    assert [path.name for path in folder.iterdir() if path.name.startswith(".making-random-0.5gb")]
    assert empty_server.delete(f"/api/loads/{load_id}").json()["state"] == "cancelled"
    wait_until(lambda: not any("0.5gb" in path.name for path in folder.iterdir()), 5)


def test_a_worker_that_is_killed_is_emitted_as_a_failure_within_a_second(
    empty_server: Server, watch: Watch
) -> None:
    watcher = watch(empty_server)
    watcher.subscribe(LLAMA)
    worker = empty_server.freeze_begun(LLAMA)
    worker.send_signal(signal.SIGKILL)
    failed = watcher.wait_for("model_load_failed", timeout_s=1)
    assert failed["error"]["code"] == "killed"
    assert failed["error"]["hint"]
    assert empty_server.load(LLAMA)["state"] == "ready"


def test_a_process_that_dies_after_its_model_was_ready_is_emitted_too(
    empty_server: Server, watch: Watch
) -> None:
    empty_server.load(LLAMA)
    watcher = watch(empty_server)
    watcher.subscribe(LLAMA)
    empty_server.workers()[0].send_signal(signal.SIGKILL)
    unloaded = watcher.wait_for("model_unloaded", timeout_s=2)
    assert (unloaded["state"], unloaded["error"]["code"]) == ("failed", "killed")


def test_a_stall_is_emitted_long_before_the_load_fails(start_server: StartServer, watch: Watch) -> None:
    server = start_server(STALL_SECONDS=1).wait_warm()
    watcher = watch(server)
    watcher.subscribe(LLAMA)
    worker = server.freeze_load(LLAMA)
    watcher.wait_until(lambda events: events[-1][1]["stalled_for"] is not None, 5)
    assert 1 <= watcher.events[-1][1]["stalled_for"] < 4
    worker.resume()
    assert watcher.wait_for("model_load_completed")["stalled_for"] is None
    check_truth(watcher.events, with_gaps=True)


def test_an_unload_frees_the_memory_of_the_model_and_returns_a_receipt(
    empty_server: Server, watch: Watch
) -> None:
    empty_server.load(BERT)
    watcher = watch(empty_server)
    watcher.subscribe(BERT)
    (worker,) = empty_server.workers()
    receipt = empty_server.delete(f"/api/models/{BERT}").json()
    assert not worker.is_running()
    assert receipt["state"] == "absent"
    assert receipt["freed"] > 1_000_000
    assert receipt["memory_before"] - receipt["memory_after"] == pytest.approx(receipt["freed"], rel=0.3)
    assert watcher.wait_for("model_unloaded")["freed"] == receipt["freed"]
    again = empty_server.delete(f"/api/models/{BERT}")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "wrong_state")


def test_what_was_loading_when_the_server_died_is_interrupted(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server(DATA_DIR=tmp_path / "shared").wait_warm()
    worker = server.freeze_load(LLAMA)
    zygote = server.zygote()
    load_id = server.snapshot(LLAMA)["load_id"]
    server.kill()
    wait_until(lambda: not _alive(worker) and not _alive(zygote), 5)
    again = start_server(DATA_DIR=tmp_path / "shared")
    row = again.get(f"/api/loads/{load_id}").json()
    assert (row["state"], row["error"]["code"]) == ("interrupted", "interrupted")
    snapshot = again.snapshot(LLAMA)
    assert (snapshot["state"], snapshot["error"]["code"]) == ("interrupted", "interrupted")
    Visitor(again).press(f"/models/{LLAMA}", f"/models/{LLAMA}/dismiss")
    assert again.snapshot(LLAMA)["state"] == "absent"
    again.kill()
    third = start_server(DATA_DIR=tmp_path / "shared")
    assert third.snapshot(LLAMA)["state"] == "absent", "what was dismissed stays so"
    assert third.get(f"/api/loads/{load_id}").json()["state"] == "interrupted"


def test_a_server_that_is_terminated_leaves_no_process_behind(start_server: StartServer) -> None:
    server = start_server().wait_warm()
    server.load(BERT)
    server.freeze_load(LLAMA)
    processes = [server.zygote(), *server.workers()]
    assert server.stop() == 0
    wait_until(lambda: not any(_alive(process) for process in processes), 5)
    assert "Traceback" not in server.log()


def test_a_server_with_open_tabs_and_streams_ends_at_once(start_server: StartServer, watch: Watch) -> None:
    server = start_server().wait_warm()
    watcher = watch(server)
    watcher.subscribe(LLAMA)
    server.freeze_load(LLAMA)
    stream = requests.get(
        f"{server.url}/api/loads/{server.snapshot(LLAMA)['load_id']}/events", stream=True, timeout=30
    )
    assert next(stream.iter_lines())
    assert server.stop() == 0


def test_one_server_per_data_folder(start_server: StartServer, tmp_path: Path) -> None:
    start_server(DATA_DIR=tmp_path / "shared")
    with suppress(AssertionError):  # it listens for a moment, before it looks at the folder
        start_server(DATA_DIR=tmp_path / "shared")
    log = tmp_path / "shared" / "server.log"
    wait_until(lambda: "Another modelhub server" in log.read_text())


def test_the_preload_list_is_loaded_and_readyz_waits_for_it(start_server: StartServer) -> None:
    server = start_server(PRELOAD=f"{BERT},{LLAMA}")
    early = server.get("/readyz")
    assert (early.status_code, early.json()["ready"]) == (503, False)
    wait_until(lambda: server.get("/readyz").status_code == 200, 60)
    assert server.get("/readyz").json()["preload"] == {BERT: "ready", LLAMA: "ready"}


def test_a_model_that_does_not_fit_is_refused_with_the_numbers(empty_server: Server, watch: Watch) -> None:
    failed = empty_server.load("tiny/too-big")
    assert failed["error"]["code"] == "no_memory"
    assert "needs" in failed["error"]["message"]
    assert "free" in failed["error"]["message"]
    assert failed["error"]["step"] == 4


def test_twenty_loads_and_unloads_leave_nothing_behind(empty_server: Server) -> None:
    web, zygote = psutil.Process(empty_server.pid), empty_server.zygote()

    def open_handles() -> tuple[int, int, int]:
        return web.num_fds(), zygote.num_fds(), len(empty_server.workers())

    for model_id in (BERT, LLAMA):
        empty_server.load(model_id)
        empty_server.delete(f"/api/models/{model_id}")
    empty_server.wait_spare()
    before, memory_before = open_handles(), [process.memory_info().rss for process in (web, zygote)]
    for number in range(20):
        model_id = (BERT, LLAMA)[number % 2]
        assert empty_server.load(model_id)["state"] == "ready"
        assert empty_server.delete(f"/api/models/{model_id}").ok
    empty_server.wait_spare()
    wait_until(lambda: all(now <= was for now, was in zip(open_handles(), before, strict=True)), 5)
    growth = [p.memory_info().rss - was for p, was in zip((web, zygote), memory_before, strict=True)]
    assert all(grown < 8_000_000 for grown in growth), growth
    assert not [c for c in web.children(recursive=True) if c.status() == psutil.STATUS_ZOMBIE]


def _alive(process: psutil.Process) -> bool:
    try:
        os.kill(process.pid, 0)
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False


def test_a_load_that_cannot_begin_keeps_no_place(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = registry_of(app)
    registry.start()
    lifecycle = registry.lifecycle

    def break_down(*_: object) -> None:
        raise RuntimeError("no thread")

    monkeypatch.setattr(lifecycle, "_spawn", break_down)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="no thread"):
            lifecycle.start(LLAMA, by="rest")
    assert lifecycle.load_ids() == []
    began: list[Any] = []
    monkeypatch.setattr(lifecycle, "_spawn", lambda _, load: (began.append(load), load.announced.set()))
    assert lifecycle.start(LLAMA, by="rest")[1], "it is new"
    assert began[0].may_run, "its slot is free"
    began[0].ended.set()
