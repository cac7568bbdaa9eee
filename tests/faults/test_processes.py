"""Processes that are killed, crash, are stopped or cannot be started, and models whose files are cut."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support import cgroups, models
from tests.support.ids import BERT, LLAMA
from tests.support.invariants import check_invariants
from tests.support.killing import LARGE, kill_at, make_large, typical_seconds
from tests.support.page_states import SLOW_DISK
from tests.support.server import Server, wait_until
from tests.support.types import StartServer, Watch

_WORDS = 400_000  # 100 MB
TOLD_S = 1.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_large(folder)
    models.FOUR[BERT](folder / BERT)
    models.FOUR[LLAMA](folder / LLAMA)
    return folder


@pytest.fixture(scope="module")
def slow(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose loads of the large model take half a second."""
    running = Server(tmp_path_factory.mktemp("data"), SLOW_DISK, MODELS_DIR=folder).start().wait_warm()
    yield running
    running.stop()


@pytest.fixture
def server(slow: Server) -> Iterator[Server]:
    """That server, with one small model in memory, and nothing else.

    The large model fails more often than programs may load it again: its loads are for a person (``retry``).
    """
    slow.unload_all()
    slow.load(BERT)
    slow.wait_spare()
    yield slow
    check_invariants(slow)


def predicts(server: Server, model_id: str = BERT) -> bool:
    inputs = "hello [MASK]" if model_id == BERT else "hello"
    response = server.post("/api/predictions", {"model": model_id, "inputs": inputs})
    return response.status_code == 200


def limit_processes(server: Server, process: psutil.Process, limit: int) -> None:
    """Set how many processes the user of a process may have for it to start another one."""
    text = "unlimited" if limit == resource.RLIM_INFINITY else limit
    subprocess.run([*server.prefix, "prlimit", f"--pid={process.pid}", f"--nproc={text}:"], check=True)


# A worker ends


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_worker_that_is_killed_at_any_moment_of_a_load_is_told_with_the_cause_within_a_second(
    server: Server, watch: Watch, number: signal.Signals
) -> None:
    watcher, other = watch(server), server.process_of(BERT)
    watcher.subscribe(LARGE)
    seconds = typical_seconds(server)
    for _ in range(5):
        kill = kill_at(server, watcher, random.uniform(0, seconds), number)
        assert kill.is_right, kill
        assert kill.state == "ready" or kill.told_s < TOLD_S, kill
        check_invariants(server)
    assert server.process_of(BERT) == other, "the other model has not noticed"
    assert predicts(server)


def test_a_file_that_is_cut_under_its_mapping_is_said_so(server: Server, folder: Path, watch: Watch) -> None:
    watcher = watch(server)
    watcher.subscribe(LARGE)
    assert server.load(LARGE, retry=True)["state"] == "ready"
    weights = folder / LARGE / "model.safetensors"
    size = weights.stat().st_size
    os.truncate(weights, 4096)
    cut_at = time.monotonic()
    response = server.post("/api/predictions", {"model": LARGE, "inputs": "hello"})
    assert (response.status_code, response.json()["error"]["code"]) == (500, "file_changed")
    unloaded = watcher.wait_for("model_unloaded", timeout_s=5)
    assert time.monotonic() - cut_at < TOLD_S
    assert (unloaded["state"], unloaded["error"]["code"]) == ("failed", "file_changed")
    os.truncate(weights, size)
    assert server.load(LARGE, retry=True)["state"] == "ready"
    assert predicts(server)


def test_a_file_that_is_cut_in_the_middle_of_a_load_fails_that_load_only(
    server: Server, folder: Path, watch: Watch
) -> None:
    watcher = watch(server)
    watcher.subscribe(LARGE)
    weights = folder / LARGE / "model.safetensors"
    size = weights.stat().st_size
    for moment in (0.1, 0.3, 0.45):
        load_id = server.request_load(LARGE, retry=True)["load_id"]
        time.sleep(moment)
        os.truncate(weights, 200_000)
        _, end = watcher.end_of(load_id)
        os.truncate(weights, size)
        if end["state"] == "failed":
            assert end["error"]["code"] in ("file_changed", "corrupt_own"), end["error"]
        server.unload_all()
    assert server.load(LARGE, retry=True)["state"] == "ready"


def test_a_load_goes_on_without_the_process_that_reads_ahead(server: Server) -> None:
    load_id = server.request_load(LARGE, retry=True)["load_id"]
    (reader,) = (p for p in psutil.Process(server.pid).children() if p.name() == "modelhub-reader")
    time.sleep(0.2)
    reader.kill()
    assert server.wait_state(LARGE, ("ready", "failed"))["state"] == "ready"
    assert server.get(f"/api/loads/{load_id}").json()["bytes"] > 100_000_000
    server.unload_all()
    assert server.load(BERT)["state"] == "ready", "there is a new one"


def test_a_spare_that_is_killed_right_before_a_load_is_replaced(server: Server) -> None:
    for _ in range(5):
        server.wait_spare().kill()
        time.sleep(random.uniform(0, 0.01))
        assert server.load(LLAMA)["state"] == "ready"
        server.delete(f"/api/models/{LLAMA}")


# The zygote ends, or is stopped


def test_without_the_zygote_models_and_loads_go_on_and_a_new_one_starts_at_once(
    server: Server, watch: Watch
) -> None:
    watcher, zygote = watch(server), server.zygote()
    watcher.subscribe(LARGE)
    server.request_load(LARGE, retry=True)
    watcher.wait_for("model_load_progress")
    zygote.kill()
    assert predicts(server)
    assert watcher.wait_for("model_load_completed")["state"] == "ready"
    wait_until(lambda: server.get("/readyz").json()["workers"]["state"] == "warming", 5)
    assert server.load(LLAMA)["state"] == "ready"
    assert server.zygote() != zygote
    for model_id in (BERT, LARGE, LLAMA):
        assert predicts(server, model_id)
        assert server.delete(f"/api/models/{model_id}").ok
    server.wait_warm()


def test_a_load_that_waits_for_a_zygote_that_is_killed_is_served_by_the_next_one(server: Server) -> None:
    server.zygote().kill()
    wait_until(lambda: server.get("/readyz").json()["workers"]["state"] == "warming", 5)
    server.request_load(LLAMA)
    server.zygote().kill()
    assert server.wait_state(LLAMA, ("ready", "failed"))["state"] == "ready"
    server.wait_warm()


def test_with_a_stopped_zygote_unloads_and_cancels_take_no_longer(server: Server) -> None:
    assert server.load(LARGE, retry=True)["state"] == "ready"
    server.wait_spare().kill()
    wait_until(lambda: server.spare() is None)
    zygote = server.zygote()
    zygote.suspend()
    try:
        began = time.monotonic()
        assert server.delete(f"/api/models/{LARGE}").json()["state"] == "absent"
        load_id = server.request_load(LLAMA)["load_id"]  # has to wait for the zygote
        assert server.delete(f"/api/loads/{load_id}").json()["state"] == "cancelled"
        assert time.monotonic() - began < 2
    finally:
        zygote.resume()
    assert server.load(LLAMA)["state"] == "ready"


def test_where_no_process_can_be_started_a_load_fails_and_the_models_go_on(
    folder: Path, start_server: StartServer
) -> None:
    with tempfile.TemporaryDirectory() as data_dir:  # one that its user may write to
        os.chmod(data_dir, 0o777)  # noqa: S103
        server = start_server(DATA_DIR=Path(data_dir) / "data", MODELS_DIR=folder, unprivileged=True)
        server.wait_warm()
        server.load(BERT)
        server.wait_spare().kill()
        wait_until(lambda: server.spare() is None)
        zygote = server.zygote()
        limit_processes(server, zygote, 1)
        failed = server.load(LLAMA)
        assert failed["error"]["code"] == "worker_unavailable"
        assert "Resource temporarily unavailable" in failed["error"]["message"]
        assert predicts(server)
        assert server.zygote() == zygote
        limit_processes(server, zygote, resource.getrlimit(resource.RLIMIT_NPROC)[0])
        assert server.load(LLAMA)["state"] == "ready"
        check_invariants(server)
        server.stop()


# Memory runs out


def test_a_load_that_the_system_ends_for_want_of_memory_says_so_with_the_numbers(
    server: Server, folder: Path
) -> None:
    models.make_sparse_llama(folder / "large/converted", _WORDS)
    with cgroups.memory_limit(150_000_000) as group:
        group.add(server.wait_spare().pid)
        server.request_load("large/converted", dtype="float32", force=True)
        failed = server.wait_state("large/converted", ("ready", "failed"))
    assert failed["error"]["code"] == "out_of_memory", failed["error"]
    assert "150 MB" in failed["error"]["message"]
    assert predicts(server)


def test_a_load_that_a_limit_of_its_address_space_ends_says_so_with_the_numbers(server: Server) -> None:
    spare = server.wait_spare()
    spare.rlimit(psutil.RLIMIT_AS, (spare.memory_info().vms + 50_000_000,) * 2)
    server.request_load(LARGE, dtype="float32", retry=True)
    failed = server.wait_state(LARGE, ("ready", "failed"))
    assert failed["error"]["code"] == "out_of_memory", failed["error"]
    assert "GB" in failed["error"]["message"] or "MB" in failed["error"]["message"]
    assert predicts(server)
