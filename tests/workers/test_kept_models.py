"""Models that are kept prepared, with a real zygote: processes that fork the workers of the next load."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from modelhub.checkpoints import LoadSpec
from modelhub.errors import ModelhubError
from modelhub.payloads import Facts
from modelhub.workers.confinement.bounds import STEP_BYTES
from modelhub.workers.launcher import Launcher
from modelhub.workers.worker import Worker
from tests.support.ids import BERT, LLAMA, VIT
from tests.support.models import make_sparse_llama
from tests.support.server import wait_until


@pytest.fixture(scope="module")
def warm() -> Iterator[Launcher]:
    with Launcher() as running:
        running.start()
        assert running.warm.wait(60)
        yield running


@pytest.fixture
def launcher(warm: Launcher) -> Iterator[Launcher]:
    """A launcher that keeps nothing yet."""
    yield warm
    warm.kept.let_go()
    wait_until(lambda: not warm.kept.pids())


@pytest.fixture
def spec(models_dir: Path, tmp_path: Path) -> LoadSpec:
    return LoadSpec(LLAMA, models_dir=str(models_dir), demo_dir=str(tmp_path / "demo"))


def load(worker: Worker, spec: LoadSpec) -> Facts:
    """Load and return the facts."""
    checkpoints = worker.load(spec)
    while True:
        try:
            next(checkpoints)
        except StopIteration as end:
            facts: Facts = end.value
            return facts


def predict(worker: Worker) -> Any:
    threading.Thread(target=worker.serve, daemon=True).start()
    ok, body = worker.predict(LLAMA, "hello", {"max_new_tokens": 12, "do_sample": False})
    assert ok
    return json.loads(body)["outputs"]


def keep(launcher: Launcher, spec: LoadSpec, seconds: float = 600) -> psutil.Process:
    """Keep a model; its process, once it is prepared."""
    before = launcher.kept.pids()
    launcher.keep(spec, seconds)
    wait_until(lambda: spec.model_id in launcher.kept.ids(), 60)
    (pid,) = set(launcher.kept.pids()) - set(before)
    return psutil.Process(pid)


def spares_of(model_id: str) -> list[psutil.Process]:
    """The processes that wait for the next load of a kept model."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.Error):  # one may just have ended
            if " ".join(child.cmdline()).strip() == f"modelhub: spare of {model_id}":
                found.append(child)
    return found


def is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def is_of_kept(launcher: Launcher, worker: Worker) -> bool:
    """Whether what is kept has forked the worker, and not the zygote."""
    kept = list(launcher.kept._kept.values())
    return worker.pid in [process.pid for link in kept for process in link.workers.values()]


def test_a_kept_model_is_a_process_of_the_server_with_one_thread(launcher: Launcher, spec: LoadSpec) -> None:
    process = keep(launcher, spec)
    assert " ".join(process.cmdline()).strip() == f"modelhub: prepared {LLAMA}"
    assert process.name() == "modelhub-kept"
    assert process.ppid() == os.getpid()
    assert process.num_threads() == 1
    assert process.pid in launcher.worker_pids(), "its memory is counted"


def test_its_children_take_the_next_loads_and_compute_the_same(launcher: Launcher, spec: LoadSpec) -> None:
    with launcher.worker(spec) as worker:
        facts = load(worker, spec)
        assert not is_of_kept(launcher, worker)
        expected = predict(worker)
    process = keep(launcher, spec)
    for options in (spec, replace(spec, force=True)):
        with launcher.worker(options) as worker:
            again = load(worker, options)
            assert is_of_kept(launcher, worker)
            assert predict(worker) == expected
            assert {**again, "memory": 0} == {**facts, "memory": 0}
            child = psutil.Process(worker.pid)
        assert is_gone(child), "it was reaped"
    assert process.num_threads() == 1
    assert process.is_running()


def test_a_model_that_is_larger_than_the_bounds_of_a_step_is_kept(
    launcher: Launcher, spec: LoadSpec, tmp_path: Path
) -> None:
    make_sparse_llama(tmp_path / "models" / "org" / "large", STEP_BYTES // 256 * 2)
    large = replace(spec, model_id="org/large", models_dir=str(tmp_path / "models"))
    keep(launcher, large)
    with launcher.worker(large) as worker:
        load(worker, large)
        assert is_of_kept(launcher, worker)


def test_another_load_than_the_kept_one_comes_from_the_zygote(launcher: Launcher, spec: LoadSpec) -> None:
    keep(launcher, spec)
    for other in (replace(spec, dtype="float32"), replace(spec, model_id=BERT), None):
        with launcher.worker(other) as worker:
            load(worker, other or spec)
            assert not is_of_kept(launcher, worker)


def test_a_load_that_comes_while_it_is_prepared_comes_from_the_zygote(
    launcher: Launcher, spec: LoadSpec
) -> None:
    launcher.keep(spec, 600)
    with launcher.worker(spec) as worker:
        assert load(worker, spec)["architecture"] == "LlamaForCausalLM"
    wait_until(lambda: LLAMA in launcher.kept.ids())


def test_two_are_kept_and_the_one_that_was_not_used_is_let_go(launcher: Launcher, spec: LoadSpec) -> None:
    first = keep(launcher, spec)
    second = keep(launcher, replace(spec, model_id=BERT))
    with launcher.worker(spec) as worker:
        load(worker, spec)
    keep(launcher, replace(spec, model_id=VIT))
    wait_until(lambda: launcher.kept.ids() == {LLAMA, VIT})
    wait_until(lambda: is_gone(second))
    assert first.is_running()
    assert len(launcher.kept.pids()) == 2


def test_keeping_it_again_keeps_the_same_process(launcher: Launcher, spec: LoadSpec) -> None:
    process = keep(launcher, spec)
    launcher.keep(replace(spec, force=True), 600)
    launcher.keep(spec, 600)
    wait_until(lambda: spares_of(LLAMA))  # the next worker is prepared too
    assert launcher.kept.pids() == [process.pid]


def test_it_is_gone_after_its_seconds(launcher: Launcher, spec: LoadSpec) -> None:
    process = keep(launcher, spec, 0.5)
    wait_until(lambda: is_gone(process))
    wait_until(lambda: not launcher.kept.ids())
    with launcher.worker(spec) as worker:
        load(worker, spec)
        assert not is_of_kept(launcher, worker)


def test_its_seconds_begin_when_its_last_worker_ends(launcher: Launcher, spec: LoadSpec) -> None:
    process = keep(launcher, spec, 3)
    with launcher.worker(spec) as worker:
        load(worker, spec)
        assert is_of_kept(launcher, worker)
        threading.Event().wait(6)
        assert process.is_running()
        assert predict(worker)
    wait_until(lambda: is_gone(process))


def test_a_load_that_comes_as_it_is_let_go_comes_from_the_zygote(
    launcher: Launcher, spec: LoadSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(launcher, spec)
    link = launcher.kept.find(spec)
    launcher.kept.let_go()
    monkeypatch.setattr(launcher.kept, "find", lambda spec: link)  # as it is for a moment
    with launcher.worker(spec) as worker:
        assert load(worker, spec)["architecture"] == "LlamaForCausalLM"
        assert not is_of_kept(launcher, worker)


def test_one_with_a_worker_is_not_let_go(launcher: Launcher, spec: LoadSpec) -> None:
    busy, idle = keep(launcher, spec), keep(launcher, replace(spec, model_id=BERT))
    with launcher.worker(spec) as worker:
        load(worker, spec)
        launcher.kept.let_go()
        wait_until(lambda: is_gone(idle))
        assert predict(worker)
        assert busy.is_running()


def test_only_the_models_of_one_repository_are_let_go(launcher: Launcher, spec: LoadSpec) -> None:
    llama, bert = keep(launcher, spec), keep(launcher, replace(spec, model_id=BERT))
    launcher.kept.let_go("tiny/nothing")
    launcher.kept.let_go(BERT)
    wait_until(lambda: is_gone(bert))
    assert llama.is_running()
    wait_until(lambda: launcher.kept.ids() == {LLAMA})


def test_when_it_is_killed_its_worker_goes_on(launcher: Launcher, spec: LoadSpec) -> None:
    process = keep(launcher, spec)
    with launcher.worker(spec) as worker:
        load(worker, spec)
        assert is_of_kept(launcher, worker)
        os.kill(process.pid, signal.SIGKILL)
        wait_until(lambda: is_gone(process) and not launcher.kept.ids())
        assert predict(worker)
        child = psutil.Process(worker.pid)
    assert is_gone(child)
    with launcher.worker(spec) as worker:
        assert load(worker, spec)["architecture"] == "LlamaForCausalLM"


@pytest.mark.parametrize("model_id", ["org/nowhere", "tiny/broken"])
def test_what_cannot_be_prepared_is_not_kept(launcher: Launcher, spec: LoadSpec, model_id: str) -> None:
    folder = Path(spec.demo_dir).parent / "models"
    (folder / "tiny" / "broken").mkdir(parents=True)
    (folder / "tiny" / "broken" / "config.json").write_text("{")
    other = replace(spec, model_id=model_id, models_dir=str(folder))
    launcher.keep(other, 600)
    assert launcher.kept.ids() == frozenset()
    wait_until(lambda: not launcher.kept._kept)
    assert psutil.Process(launcher.zygote_pid).is_running()


def test_when_the_zygote_is_killed_what_is_kept_stays_and_forks(launcher: Launcher, spec: LoadSpec) -> None:
    process = keep(launcher, spec)
    zygote = launcher.zygote_pid
    os.kill(zygote or 0, signal.SIGKILL)
    wait_until(lambda: launcher.zygote_pid not in (None, zygote))
    with launcher.worker(spec) as worker:
        load(worker, spec)
        assert is_of_kept(launcher, worker)
        assert predict(worker)
    assert process.is_running()
    assert launcher.warm.wait(60)


def test_closing_the_launcher_ends_them_too(spec: LoadSpec) -> None:
    launcher = Launcher()
    launcher.start()
    assert launcher.warm.wait(60)
    process = keep(launcher, spec)
    worker = launcher.worker(spec)
    load(worker, spec)
    child = psutil.Process(worker.pid)
    spares = spares_of(LLAMA)
    launcher.close()
    wait_until(lambda: all(is_gone(one) for one in (process, child, *spares)))
    with pytest.raises(ModelhubError):
        launcher.worker(spec)
    worker.close()
