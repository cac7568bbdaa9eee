"""Loads in trouble: a slow disk or network, a connection that breaks, a stall, too little memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

import psutil

from tests.benchmarks.load.fixtures import EXPERTS, LARGE, SHARDS, SMALL, Fixture, make
from tests.benchmarks.truth.bench import Bench, Job
from tests.benchmarks.truth.control_groups import SlowDisk, slow_disk, small_memory
from tests.benchmarks.truth.fixtures import BERT, GPT2, LLAMA, NEOX, TOKENS_SMALL
from tests.benchmarks.truth.live import has_read
from tests.support.hub_server import HubServer
from tests.support.server import Server
from tests.support.watcher import Watcher

DISK_BYTES_PER_S = 100 * 10**6
_STALL_S = 12.0
_HELD_S = 8.0  # a client of the hub reconnects after 10 s
_STALL_SECONDS: dict[str, Any] = {"STALL_SECONDS": 3}
_READ_STEP = 5
_SOME_BYTES = 200 * 10**6  # what a worker takes beside its weights


def throttled(bench: Bench) -> None:
    """A disk of 100 MB/s."""
    jobs = [Job("throttled", one) for one in (LLAMA, TOKENS_SMALL, SHARDS, NEOX)]
    with _slow_server(bench, "throttled") as (server, _):
        for job in bench.jobs(jobs, 2):
            bench.load(server, job)


def stall(bench: Bench) -> None:
    """Processes that are stopped for a while, and a disk that hangs, in the middle of the weights."""
    jobs = [Job(case, one) for one in (LLAMA, BERT) for case in ("stall", "stall-disk")]
    with _slow_server(bench, "stall", **_STALL_SECONDS) as (server, disk):
        for job in bench.jobs(jobs, 2):
            hang = partial(disk.hang, _STALL_S, DISK_BYTES_PER_S)
            cause = partial(_stop, server) if job.case == "stall" else hang
            bench.load(server, job, _in_the_middle(job.fixture, cause))


@contextmanager
def _slow_server(bench: Bench, name: str, **settings: Any) -> Iterator[tuple[Server, SlowDisk]]:
    with slow_disk(bench.models) as (group, disk), bench.server(name, group=group, **settings) as server:
        disk.limit(DISK_BYTES_PER_S)
        yield server, disk
        disk.limit(None)


def _in_the_middle(fixture: Fixture, cause: Callable[[], None]) -> Callable[[Watcher], None]:
    def meanwhile(watcher: Watcher) -> None:
        watcher.wait_until(has_read(fixture.model_id, _READ_STEP, 0.4))
        cause()

    return meanwhile


def _stop(server: Server) -> None:
    """Stop the reader and the workers, and let them run on after a while."""
    children = psutil.Process(server.pid).children()
    readers = [one for one in children if any("reader" in part for part in one.cmdline())]
    stopped = [*readers, *server.workers()]
    for process in stopped:
        process.suspend()
    time.sleep(_STALL_S)
    for process in stopped:
        with suppress(psutil.NoSuchProcess):
            process.resume()


def download(bench: Bench) -> None:
    """Networks of 10 and of 30 MB/s for each file."""
    for megabytes, fixtures in ((10, (GPT2,)), (30, (BERT, SHARDS))):
        with _hub(bench, f"download-{megabytes}", megabytes * 10**6) as (hub, server):
            for job in bench.jobs([Job("download", one) for one in fixtures], 2):
                _fetch(bench, hub, server, job)


def download_broken(bench: Bench) -> None:
    """Connections that break in the middle of a file."""
    with _hub(bench, "download-30", 30 * 10**6) as (hub, server):
        for job in bench.jobs([Job("download-broken", one) for one in (GPT2, LLAMA)], 2):
            hub.drop_after.update(_half(bench, job.fixture))
            _fetch(bench, hub, server, job)


def download_stall(bench: Bench) -> None:
    """Downloads of which nothing comes for a while."""
    with _hub(bench, "download-stall", 30 * 10**6, **_STALL_SECONDS) as (hub, server):
        for job in bench.jobs([Job("download-stall", one) for one in (GPT2, LLAMA)], 2):
            hub.hold_after.update(_half(bench, job.fixture))
            _fetch(bench, hub, server, job, lambda watcher: _release(hub))


def _release(hub: HubServer) -> None:
    assert hub.holding.wait(60), "nothing was held"
    time.sleep(_HELD_S)
    hub.hold_after.clear()
    hub.holding.clear()
    held, hub.release = hub.release, threading.Event()
    held.set()


def _fetch(
    bench: Bench,
    hub: HubServer,
    server: Server,
    job: Job,
    meanwhile: Callable[[Watcher], None] = lambda watcher: None,
) -> None:
    """Load it, and delete what was fetched."""
    model_id = job.fixture.model_id
    hub.commit(model_id)  # computes the hashes of its files, which takes a second for each GB
    bench.trace(server, job.case, model_id, meanwhile)
    server.delete(f"/api/files/{model_id}").raise_for_status()


def _half(bench: Bench, fixture: Fixture) -> dict[str, int]:
    """Half of each of its weight files."""
    paths = make(fixture, bench.models).glob("*.safetensors")
    return {path.name: path.stat().st_size // 2 for path in paths}


@contextmanager
def _hub(bench: Bench, name: str, bytes_per_s: int, **settings: Any) -> Iterator[tuple[HubServer, Server]]:
    """A hub with the models, and a server that has none."""
    with ExitStack() as stack:
        hub = stack.enter_context(HubServer(bench.models))
        hub.bytes_per_second = bytes_per_s
        environ = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0"}
        yield hub, stack.enter_context(bench.server(name, environ, MODELS_DIR="", **settings))


def pressure(bench: Bench) -> None:
    """A control group with little more memory than a model needs, and one with less than its files have."""
    rooms = {
        ("pressure", NEOX): 1.0,
        ("pressure", LARGE): 1.0,
        ("thrashing", NEOX): 0.4,
        ("thrashing", LARGE): 0.4,
        ("pressure", EXPERTS): 1.2,
    }
    with small_memory() as (group, memory), bench.server("pressure", group=group) as server:
        server.load(SMALL.model_id)
        server.unload_all()
        server.wait_spare()
        for job in bench.jobs([Job(case, fixture) for case, fixture in rooms], 2):
            bench.bring(job)
            size = sum(path.stat().st_size for path in job.fixture.folder(bench.models).glob("*.safetensors"))
            memory.leave(round(size * rooms[job.case, job.fixture]) + _SOME_BYTES)
            bench.trace(server, job.case, job.fixture.model_id, force=True)
            memory.leave(None)
