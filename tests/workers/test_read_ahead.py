"""The process that reads weights ahead, started for real, and loads that take what it reads."""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from modelhub.checkpoints import Checkpoint, LoadSpec
from modelhub.loader import nine_steps
from modelhub.loader.finishing import LoadedModel
from modelhub.loader.reading.reader import Reader
from modelhub.workers.launcher import Launcher, _environment
from modelhub.workers.read_ahead import ReadAheadProcess
from tests.support import models
from tests.support.loads import spec_for
from tests.support.resident import drop, resident_bytes
from tests.support.server import ROOT, wait_until

SLOW = 40 * 10**6  # bytes a second: the model takes a second
Start = Callable[[int], ReadAheadProcess]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """The weights of a model of 40 MB, none of which are in memory."""
    path = models.make_sparse_llama(tmp_path / "m" / "large", 160_000) / "model.safetensors"
    drop(path)
    return path


@pytest.fixture
def spec(weights: Path) -> LoadSpec:
    return spec_for("large", weights.parent.parent)


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """The weights of a model of 160 MB: a reader that stops finishes up to eight pieces of 4 MB before."""
    path = models.make_sparse_llama(tmp_path / "m" / "long", 640_000) / "model.safetensors"
    drop(path)
    return path


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts the process, on a disk of so many bytes a second."""
    started: list[ReadAheadProcess] = []

    def start_one(bytes_per_s: int) -> ReadAheadProcess:
        slow = {"SLOW_DISK_BYTES_PER_S": str(bytes_per_s)}
        path = os.pathsep.join([str(ROOT / "tests" / "support" / "slow_disk"), str(ROOT)])
        started.append(ReadAheadProcess({**_environment(), **slow, "PYTHONPATH": path}))
        return started[-1]

    yield start_one
    for process in started:
        process.close()


@pytest.fixture
def readers_here(monkeypatch: pytest.MonkeyPatch) -> list[Reader]:
    """The readers that were started in this process."""
    found: list[Reader] = []
    start = Reader.start

    def noted(self: Reader) -> None:
        found.append(self)
        start(self)

    monkeypatch.setattr(Reader, "start", noted)
    return found


def link_to(process: ReadAheadProcess, spec: LoadSpec) -> socket.socket:
    link = process.read(spec)
    assert link is not None
    link.setblocking(True)
    return link


def wait_begun(link: socket.socket) -> None:
    """Wait until the process has sent its ledger, or has given up; takes nothing from the socket."""
    assert select.select([link], [], [], 60)[0]


def run(spec: LoadSpec, link: socket.socket) -> tuple[list[Checkpoint], LoadedModel]:
    checkpoints = []
    load = nine_steps.load(spec, link=link)
    while True:
        try:
            checkpoints.append(next(load))
        except StopIteration as end:
            return checkpoints, end.value


def test_a_load_takes_what_the_process_reads(
    start: Start, spec: LoadSpec, weights: Path, readers_here: list[Reader]
) -> None:
    process = start(SLOW)
    link = link_to(process, spec)
    wait_begun(link)
    checkpoints, loaded = run(spec, link)
    assert readers_here == [], "nothing is read here"
    read = [c.done for c in checkpoints if c.step == 5 and c.done is not None]
    assert read == sorted(read)
    assert len(set(read)) > 2, "what the other process reads is told as it comes"
    assert read[-1] == weights.stat().st_size == loaded.facts["bytes"]
    assert resident_bytes(weights) >= 0.99 * weights.stat().st_size
    wait_until(lambda: psutil.Process(process.pid).num_threads() == 1)


def test_the_small_files_and_the_headers_are_there_before_the_weights(
    start: Start, spec: LoadSpec, weights: Path
) -> None:
    """Behind the weights, each of them would wait for the disk."""
    small = [weights.parent / "config.json", weights.parent / "tokenizer.json"]
    small[1].write_bytes(b"{" + b" " * 300_000 + b"}")
    (weights.parent / "a-link.json").symlink_to("/etc/passwd")
    unused = weights.parent / "pytorch_model.bin"
    with unused.open("wb") as file:
        file.truncate(100 * 10**6)
    process = start(SLOW)
    for round_ in ("the first", "one that knows the weights"):
        for path in (*small, weights):
            drop(path)
        link = link_to(process, spec)
        wait_begun(link)
        link.close()
        assert [resident_bytes(path) >= path.stat().st_size for path in small] == [True, True], round_
        assert resident_bytes(weights) > 0, round_
        assert resident_bytes(unused) == 0, round_
        wait_until(lambda: psutil.Process(process.pid).num_threads() == 1)


def test_no_byte_is_counted_before_the_other_process_has_read_it(
    start: Start, spec: LoadSpec, weights: Path
) -> None:
    link = link_to(start(SLOW), spec)
    wait_begun(link)
    slack = weights.stat().st_size // 100
    load = nine_steps.load(spec, link=link)
    claims = 0
    for checkpoint in load:
        if checkpoint.step == 5 and checkpoint.done:
            assert checkpoint.done <= resident_bytes(weights) + slack
            claims += 1
    assert claims > 2


def test_other_weights_than_the_process_reads_are_read_here(
    start: Start, spec: LoadSpec, weights: Path, tmp_path: Path, readers_here: list[Reader]
) -> None:
    process = start(SLOW)
    link = link_to(process, spec)
    wait_begun(link)
    other = models.make_sparse_llama(tmp_path / "other", 1000)
    for path in other.iterdir():
        path.rename(weights.parent / path.name)
    _, loaded = run(spec, link)
    assert len(readers_here) == 1
    assert loaded.facts["bytes"] == weights.stat().st_size < 10**6
    wait_until(lambda: psutil.Process(process.pid).num_threads() == 1)


def test_what_a_killed_process_has_not_read_is_read_here(
    start: Start, spec: LoadSpec, weights: Path, readers_here: list[Reader]
) -> None:
    process = start(SLOW // 2)
    link = link_to(process, spec)
    wait_begun(link)
    load = nine_steps.load(spec, link=link)
    before = next(c for c in load if c.step == 5 and c.done)
    assert 0 < (before.done or 0) < weights.stat().st_size
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    after = [before, *load]
    read = [c.done for c in after if c.step == 5 and c.done is not None]
    assert read == sorted(read)
    assert read[-1] == weights.stat().st_size
    assert after[-1].step == 9
    assert len(readers_here) == 1
    assert not readers_here[0].is_running
    dead = process.pid
    next_link = link_to(process, spec)
    wait_begun(next_link)
    assert process.pid != dead, "the next load has a new one"
    next_link.close()


def test_it_stops_when_the_load_does(start: Start, long: Path) -> None:
    process, spec = start(SLOW), spec_for("long", long.parent.parent)
    link = link_to(process, spec)
    wait_begun(link)
    load = nine_steps.load(spec, link=link)
    next(c for c in load if c.step == 5 and c.done)
    assert psutil.Process(process.pid).num_threads() > 1
    load.close()
    wait_until(lambda: psutil.Process(process.pid).num_threads() == 1)
    assert resident_bytes(long) < 0.9 * long.stat().st_size


def test_it_stops_when_the_worker_never_begins(start: Start, long: Path) -> None:
    process = start(SLOW)
    link = link_to(process, spec_for("long", long.parent.parent))
    wait_begun(link)
    link.close()
    wait_until(lambda: psutil.Process(process.pid).num_threads() == 1)
    assert resident_bytes(long) < 0.9 * long.stat().st_size


def test_a_model_that_is_not_here_is_not_read(start: Start, spec: LoadSpec, tmp_path: Path) -> None:
    models.make_sparse_llama(tmp_path / "m" / "huge", 2**34)
    process = start(SLOW)
    for model_id in ("org/nowhere", "../..", "huge"):
        link = link_to(process, spec_for(model_id, tmp_path / "m"))
        link.settimeout(60)
        assert link.recv(1) == b"", model_id
        link.close()
    link = link_to(process, spec)
    link.settimeout(60)
    assert link.recv(1) != b"", "and the process goes on"
    link.close()


def test_a_broken_model_does_not_end_the_process(start: Start, spec: LoadSpec, weights: Path) -> None:
    process = start(SLOW)
    whole = weights.read_bytes()
    weights.write_bytes(b"nonsense")
    link = link_to(process, spec)
    link.settimeout(60)
    assert link.recv(1) == b""
    link.close()
    pid = process.pid
    weights.write_bytes(whole)
    link = link_to(process, spec)
    wait_begun(link)
    _, loaded = run(spec, link)
    assert loaded.facts["bytes"] == len(whole)
    assert process.pid == pid


def test_closing_ends_it(start: Start, spec: LoadSpec) -> None:
    process = start(SLOW)
    with link_to(process, spec):
        running = psutil.Process(process.pid)
        process.close()
        with suppress(psutil.NoSuchProcess):
            running.wait(10)
        assert not running.is_running()
    assert process.read(spec) is None, "it is not started again"


def test_it_ends_with_its_parent(start: Start, spec: LoadSpec) -> None:
    process = start(SLOW)
    with link_to(process, spec):
        running = psutil.Process(process.pid)
        assert process._channel is not None
        process._channel.shut_down()
        with suppress(psutil.NoSuchProcess):
            running.wait(10)


def test_reading_begins_while_the_zygote_still_imports(spec: LoadSpec, weights: Path) -> None:
    with Launcher() as launcher, launcher.worker(spec) as worker:
        wait_until(lambda: resident_bytes(weights) >= 0.5 * weights.stat().st_size)
        assert not launcher.warm.is_set()
        facts = None
        load = worker.load(spec)
        while facts is None:
            try:
                next(load)
            except StopIteration as end:
                facts = end.value
        assert facts["bytes"] == weights.stat().st_size
