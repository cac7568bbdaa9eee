"""Real processes: a zygote with one thread, and the workers that it forks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from modelhub.checkpoints import STEPS, Checkpoint, LoadSpec
from modelhub.errors import ModelhubError
from modelhub.payloads import Facts
from modelhub.workers.channel import Channel, Message
from modelhub.workers.launcher import Launcher
from modelhub.workers.start import start_module
from modelhub.workers.warm_up import WarmUp, read_warm_up
from modelhub.workers.worker import Worker
from tests.support.ids import LLAMA
from tests.support.models import make_bert
from tests.support.server import ROOT, SPARE, wait_until


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    with Launcher() as running:
        running.start()
        assert running.warm.wait(60)
        yield running


@pytest.fixture
def spec(models_dir: Path, tmp_path: Path) -> LoadSpec:
    return LoadSpec(LLAMA, models_dir=str(models_dir), demo_dir=str(tmp_path / "demo"))


def _load(worker: Worker, spec: LoadSpec, admit: Any = None) -> tuple[list[Checkpoint], Facts]:
    received: list[Checkpoint] = []
    checkpoints = worker.load(spec, admit)
    while True:
        try:
            checkpoint = next(checkpoints)
        except StopIteration as end:
            return received, end.value
        if checkpoint is not None:
            received.append(checkpoint)


def test_a_model_that_comes_with_its_first_load_stays_within_the_bounds(
    launcher: Launcher, tmp_path: Path
) -> None:
    # The worker itself makes, reads and maps half a gigabyte.
    spec = LoadSpec("demo/random-0.5gb", str(tmp_path), str(tmp_path / "demo"))
    with launcher.worker(spec) as worker:
        _, facts = _load(worker, spec)
    shutil.rmtree(tmp_path / "demo")
    assert (facts["source"], facts["parameters"]) == ("demo", 257_473_536)


def test_a_worker_yields_the_nine_checkpoints_and_returns_the_facts(
    launcher: Launcher, spec: LoadSpec
) -> None:
    needs: list[int] = []
    with launcher.worker() as worker:
        received, facts = _load(worker, spec, needs.append)
    assert list(dict.fromkeys((c.step, c.message) for c in received)) == [
        (row.step, row.message) for row in STEPS
    ]
    assert facts["architecture"] == "LlamaForCausalLM"
    assert len(needs) == 1
    assert facts["bytes"] * 0.9 < needs[0] <= facts["bytes"], "the tensors; bytes are those of the files"


def test_the_memory_to_admit_and_the_facts_follow_the_data_type(launcher: Launcher, spec: LoadSpec) -> None:
    needs: list[int] = []
    for dtype in ("float32", "bfloat16"):
        with launcher.worker() as worker:
            _, facts = _load(worker, replace(spec, dtype=dtype, device="cpu"), needs.append)
        assert (facts["dtype"], facts["device"]) == (dtype, "cpu")
    assert needs[0] == 2 * needs[1] > 0


def test_where_memory_runs_out_a_load_is_ended_before_a_model_and_that_before_the_server(
    launcher: Launcher, spec: LoadSpec
) -> None:
    def score(pid: int | None) -> int:
        return int(Path(f"/proc/{pid or 'self'}/oom_score_adj").read_text())

    during: list[int] = []
    with launcher.worker() as worker:
        _load(worker, spec, lambda _: during.append(score(worker.pid)))
        assert during[0] > score(worker.pid) > score(launcher.zygote_pid) >= score(None)


def test_a_refusal_ends_the_load_with_its_error(launcher: Launcher, spec: LoadSpec) -> None:
    def refuse(need_bytes: int) -> None:
        raise ModelhubError("no_memory", id=LLAMA, needed=need_bytes, free=0)

    with launcher.worker() as worker, pytest.raises(ModelhubError) as caught:
        _load(worker, spec, refuse)
    assert caught.value.code == "no_memory"


def test_the_zygote_has_one_thread_also_after_its_children_have_computed(
    launcher: Launcher, spec: LoadSpec
) -> None:
    for _ in range(3):
        with launcher.worker() as worker:
            _load(worker, spec)
            assert _predict(worker)[0]
    zygote = psutil.Process(launcher.zygote_pid)
    assert zygote.num_threads() == 1
    assert zygote.children() == []


def received_until(channel: Channel, kind: str) -> list[Message]:
    """The messages of a zygote up to the first one of this type."""
    messages: list[Message] = []
    while not messages or messages[-1]["type"] != kind:
        message = channel.receive(60)
        assert message is not None
        messages.append(message)
    return messages


def test_a_zygote_counts_the_modules_that_it_imports() -> None:
    process, control = start_module("modelhub.workers.zygote", {**os.environ, "PYTHONPATH": str(ROOT)})
    channel = Channel(control)
    began = time.monotonic()
    messages = received_until(channel, "warm")
    seconds = time.monotonic() - began
    channel.close()
    assert process.wait(10) == 0
    counts = [message["done"] for message in messages if message["type"] == "importing"]
    assert counts == sorted(counts)
    assert counts[0] < 100, "from the first import on"
    assert counts[-1] <= messages[-1]["modules"]
    assert len({count // 250 for count in counts}) >= 5, "it grows little by little"
    assert len(counts) <= seconds / 0.05 + 1


def test_what_a_warm_up_took_is_what_the_next_one_is_measured_by(tmp_path: Path) -> None:
    kept = tmp_path / "warm_up.json"
    with Launcher(warm_up_path=kept) as first:
        unknown = first.waiting()
        assert unknown is not None
        assert (unknown.step, unknown.done, unknown.unit) == (1, 0, "modules")
        assert first.expected_wait_s() == WarmUp().seconds, "that of a slow machine"
        first.start()
        assert first.warm.wait(60)
        assert (first.waiting(), first.expected_wait_s()) == (None, 0)
        wait_until(kept.exists)
    with Launcher(warm_up_path=kept) as second:
        waiting = second.waiting()
        assert waiting is not None
        assert waiting.size == json.loads(kept.read_text())["modules"] > 1000
        assert second.expected_wait_s() == max(1.0, first.warm_seconds or 0)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"seconds": 0, "modules": 9}', '{"seconds": 3.5, "modules": -1}']
)
def test_a_damaged_note_of_the_last_warm_up_is_not_used(tmp_path: Path, text: str) -> None:
    kept = tmp_path / "warm_up.json"
    kept.write_text(text)
    assert read_warm_up(kept) == WarmUp()


def test_a_zygote_with_a_second_thread_does_not_fork() -> None:
    code = (
        "import socket, sys, threading;"
        "from modelhub.workers.zygote import Zygote;"
        "threading.Thread(target=threading.Event().wait, daemon=True).start();"
        "Zygote(socket.socket(fileno=int(sys.argv[1])), 1).run()"
    )
    ours, theirs = socket.socketpair()
    one, other = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(theirs.fileno())], cwd=ROOT, pass_fds=[theirs.fileno()]
    )
    theirs.close()
    channel = Channel(ours)
    channel.send_with_fd({"op": "fork", "worker": "w1", "fresh": True}, other.fileno())
    last = received_until(channel, "refused")[-1]
    channel.close()
    assert process.wait(10) == 0
    assert last["worker"] == "w1"
    assert "threads" in last["why"]
    one.close()
    other.close()


def test_a_forked_child_computes_what_a_fresh_process_computes(launcher: Launcher, spec: LoadSpec) -> None:
    code = (
        "import sys, torch; from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline;"
        "torch.set_num_threads(torch.get_num_threads());"
        "folder = sys.argv[1]; model = AutoModelForCausalLM.from_pretrained(folder).eval();"
        "pipe = pipeline('text-generation', model=model, tokenizer=AutoTokenizer.from_pretrained(folder));"
        "print(pipe('hello', max_new_tokens=12, do_sample=False)[0]['generated_text'].encode().hex())"
    )
    folder = str(Path(spec.models_dir) / LLAMA)
    fresh = subprocess.run(
        [sys.executable, "-c", code, folder], capture_output=True, text=True, timeout=120, check=True
    )
    with launcher.worker() as worker:
        _load(worker, spec)
        ok, body = _predict(worker)
    assert ok
    text = json.loads(body)["outputs"][0]["generated_text"]
    assert text.encode().hex() == fresh.stdout.split()[-1]


def _predict(worker: Worker) -> tuple[bool, bytes]:
    threading.Thread(target=worker.serve, daemon=True).start()
    return worker.predict(LLAMA, "hello", {"max_new_tokens": 12, "do_sample": False})


def test_a_worker_makes_embeddings_as_the_folder_says(launcher: Launcher, tmp_path: Path) -> None:
    folder = make_bert(tmp_path / "tiny" / "sentences")
    kinds = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    modules = [{"type": f"sentence_transformers.models.{kind}", "path": path} for kind, path in kinds.items()]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": ["cls", "mean"]}')
    with launcher.worker() as worker:
        _load(worker, LoadSpec("tiny/sentences", str(tmp_path), str(tmp_path / "demo")))
        threading.Thread(target=worker.serve, daemon=True).start()
        ok, body = worker.predict("tiny/sentences", ["hello world", "a"], {"dimensions": 100}, op="embed")
        assert ok, body
        refused, why = worker.predict("tiny/sentences", "hello " * 100, {}, op="embed")
    found = json.loads(body)
    assert found["prompt_tokens"] == 7
    assert [len(vector) for vector in found["embeddings"]] == [100, 100], "of 2 x 64"
    assert [round(sum(x * x for x in vector), 4) for vector in found["embeddings"]] == [1, 1]
    assert not refused
    assert "has 102 tokens, and the model takes 64" in json.loads(why)["message"]


def test_an_idle_child_is_small_and_starts_in_milliseconds(launcher: Launcher) -> None:
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        with launcher.worker() as worker:
            wait_until(lambda worker=worker: worker.pid is not None)
            seconds.append(time.perf_counter() - began)
            own = psutil.Process(worker.pid).memory_full_info().uss
    assert min(seconds) < 0.25, "a fork, not an import"
    assert own < 50_000_000, "the rest is shared with the zygote"


def waiting_spare(launcher: Launcher) -> psutil.Process:
    """The spare, once it has rehearsed."""
    launcher.prepare_spare()
    wait_until(lambda: launcher.spare_pid is not None)
    return psutil.Process(launcher.spare_pid)


def test_the_spare_takes_the_next_load_and_computes_the_same(launcher: Launcher, spec: LoadSpec) -> None:
    with launcher.worker(fresh=True) as worker:
        _load(worker, spec)
        expected = json.loads(_predict(worker)[1])["outputs"]
    spare = waiting_spare(launcher)
    with launcher.worker() as worker:
        _load(worker, spec)
        assert worker.pid == spare.pid
        assert spare.name() == "modelhub-worker"
        assert json.loads(_predict(worker)[1])["outputs"] == expected
        assert spare.memory_full_info().uss < 60_000_000
    assert not spare.is_running()


def test_the_newest_spare_says_how_long_its_rehearsal_took(spec: LoadSpec) -> None:
    with Launcher() as launcher:
        launcher.start()
        assert launcher.warm.wait(60)
        assert launcher.rehearsal_seconds is None
        began = time.monotonic()
        spare = waiting_spare(launcher)
        first = launcher.rehearsal_seconds
        assert first is not None
        assert 0.01 < first < time.monotonic() - began
        spare.kill()
        wait_until(lambda: launcher.spare_pid is None)
        assert launcher.rehearsal_seconds == first, "it is kept"
        waiting_spare(launcher)
        wait_until(lambda: launcher.rehearsal_seconds != first)


def command_line(pid: int | None) -> str:
    """The command line as ``ps -ef`` shows it."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode()


def test_the_command_line_of_each_process_names_its_model(launcher: Launcher, spec: LoadSpec) -> None:
    spare = waiting_spare(launcher)
    assert command_line(launcher.zygote_pid) == "modelhub: zygote"
    assert command_line(spare.pid) == "modelhub: spare"
    with launcher.worker() as worker, launcher.worker(fresh=True) as other:
        _load(worker, spec)
        assert worker.pid == spare.pid
        assert command_line(worker.pid) == f"modelhub: {LLAMA}"
        wait_until(lambda: other.pid is not None and command_line(other.pid) == "modelhub: worker")
    assert launcher.zygote_pid is not None
    assert psutil.Process(launcher.zygote_pid).name() == "modelhub-zygote"


def test_a_load_after_the_spare_was_killed_succeeds(launcher: Launcher, spec: LoadSpec) -> None:
    waiting_spare(launcher).kill()
    wait_until(lambda: launcher.spare_pid is None)
    with launcher.worker() as worker:
        assert _load(worker, spec)[1]["architecture"] == "LlamaForCausalLM"


def test_a_fresh_worker_leaves_the_spare_alone(launcher: Launcher, spec: LoadSpec) -> None:
    spare = waiting_spare(launcher)
    with launcher.worker(fresh=True) as worker:
        assert worker.preview(spec, 10)["source"] == "folder"
        assert worker.pid != spare.pid
    assert spare.is_running()
    assert spare.name() == SPARE


def test_a_load_whose_process_was_killed_before_it_has_begun_has_another(
    launcher: Launcher, spec: LoadSpec
) -> None:
    with launcher.worker() as worker:
        wait_until(lambda: worker.pid is not None)
        killed = worker.pid
        os.kill(killed or 0, signal.SIGKILL)
        assert _load(worker, spec)[1]["architecture"] == "LlamaForCausalLM"
        assert worker.pid != killed


@pytest.mark.parametrize(
    ("number", "code", "fact"),
    [
        (signal.SIGKILL, "killed", "SIGKILL"),
        (signal.SIGTERM, "killed", "SIGTERM"),
        (signal.SIGSEGV, "crashed", "SIGSEGV"),
        (signal.SIGBUS, "file_changed", LLAMA),
    ],
)
def test_the_error_of_a_process_that_has_ended_has_the_cause(
    launcher: Launcher, spec: LoadSpec, number: signal.Signals, code: str, fact: str
) -> None:
    with launcher.worker() as worker:
        _load(worker, spec)
        os.kill(worker.pid or 0, number)
        assert worker.wait(5)
        error = worker.exit_error(LLAMA)
    assert error.code == code
    assert fact in error.message


def test_closing_the_launcher_ends_every_process(spec: LoadSpec) -> None:
    launcher = Launcher()
    launcher.start()
    worker = launcher.worker()
    _load(worker, spec)
    family = [psutil.Process(launcher.zygote_pid), psutil.Process(worker.pid)]
    launcher.close()
    wait_until(lambda: not any(process.is_running() for process in family), 5)
    with pytest.raises(ModelhubError):
        launcher.worker()


def test_no_child_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import time; from modelhub.workers.launcher import Launcher; l = Launcher(); w = l.worker();"
        "l.warm.wait(60);\nwhile w.pid is None: time.sleep(0.01)\n"
        "print(l.zygote_pid, w.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    family = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
    assert len(family) == 2
    parent.kill()
    parent.wait()
    wait_until(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in family), 5)
