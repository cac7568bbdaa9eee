"""What a library can do in the process of a model: a real process tries it."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest

from modelhub.checkpoints import LoadSpec
from modelhub.errors import ModelhubError
from modelhub.workers.children import Exit
from modelhub.workers.confinement.in_force import check, in_force
from modelhub.workers.environment import hub_token
from modelhub.workers.exit_cause import exit_error
from modelhub.workers.launcher import _environment
from tests.support.ids import LLAMA
from tests.support.server import ROOT, Server

MAY = ("own", "module", "thread")
MAY_NOT = (
    "foreign", "sibling", "other process", "write own", "write", "delete", "network", "earlier",
    "unix socket", "program", "fork", "signal",
)  # fmt: skip


def confined(spec: LoadSpec, foreign: Path, spend: str = "") -> subprocess.CompletedProcess[str]:
    """A process that is confined for ``spec``, while a server listens that nobody may reach."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        given = {"spec": asdict(spec), "port": port, "foreign": str(foreign), "spend": spend}
        command = [sys.executable, "-m", "tests.support.confined", json.dumps(given)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        listener.setblocking(False)
        if spec.sandbox != "off":
            with pytest.raises(BlockingIOError):
                listener.accept()
        return done


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    path = tmp_path / "foreign"
    path.write_text("secret")
    return path


@pytest.fixture
def spec(models_dir: Path, tmp_path: Path) -> LoadSpec:
    """A model of one's own: where nothing is confined, its file is written to."""
    shutil.copytree(models_dir / LLAMA, tmp_path / "models" / LLAMA)
    return LoadSpec(LLAMA, str(tmp_path / "models"), "", device="cpu")


def test_it_reads_its_model_and_nothing_else(spec: LoadSpec, foreign: Path) -> None:
    done = confined(spec, foreign)
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)
    assert {name: outcomes[name] for name in MAY} == dict.fromkeys(MAY, "done")
    assert {name: outcomes[name] for name in MAY_NOT} == dict.fromkeys(MAY_NOT, "PermissionError")
    assert (outcomes["memory"], outcomes["code"]) == ("MemoryError", "too_costly")
    assert outcomes["token"] == "", "that of the hub has no use where the files are here"
    assert foreign.read_text() == "secret"


def test_without_the_sandbox_all_of_that_is_possible(spec: LoadSpec, foreign: Path) -> None:
    done = confined(replace(spec, sandbox="off"), foreign)
    outcomes = json.loads(done.stdout)
    done_there = {name for name, outcome in outcomes.items() if outcome == "done"}
    assert {"foreign", "network", "earlier", "fork", "memory"} <= done_there


def test_a_step_that_computes_for_too_long_is_ended(spec: LoadSpec, foreign: Path) -> None:
    done = confined(replace(spec, step_seconds=0.2), foreign, spend="time")
    assert done.returncode == -signal.SIGXCPU
    error = exit_error("org/name", Exit(done.returncode), step=2)
    assert (error.code, "step 2 (Loading feature extractor)" in error.message) == ("too_costly", True)


def test_the_process_of_a_model_is_confined_and_does_not_dump(server: Server) -> None:
    server.load(LLAMA)
    process = server.process_of(LLAMA)
    for thread in process.threads():
        status = Path(f"/proc/{process.pid}/task/{thread.id}/status").read_text()
        assert "Seccomp:\t2" in status, "none is left out"
        assert "NoNewPrivs:\t1" in status
    assert resource.prlimit(process.pid, resource.RLIMIT_CORE)[0] <= 1
    assert resource.prlimit(process.pid, resource.RLIMIT_DATA)[0] != resource.RLIM_INFINITY
    assert process.nice() > psutil.Process(server.pid).nice()
    assert server.get("/readyz").json()["sandbox"] == {
        "mode": "auto", "network": "seccomp", "files": "landlock", "memory": "limit",
        "computing_time": "limit",
    }  # fmt: skip


def test_the_processes_of_models_get_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MODELHUB_TOKEN", "MODELHUB_VIEW_TOKEN", "GITHUB_TOKEN", "OPENAI_API_KEY", "PGPASSWORD_X"):
        monkeypatch.setenv(name, "secret")
    for name in ("TOKENIZERS_PARALLELISM", "HF_TOKEN_PATH", "MODELHUB_TOKEN_FILE", "KEYBOARD"):
        monkeypatch.setenv(name, "kept")
    left = _environment()
    assert {name for name, value in left.items() if value == "secret"} == {"PGPASSWORD_X"}
    assert [name for name, value in left.items() if value == "kept"] != []
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    assert hub_token() == "hf_x"


def test_strict_is_refused_where_it_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    check("strict")
    monkeypatch.setattr("modelhub.workers.confinement.landlock.version", lambda: 0)
    assert in_force("auto")["files"] == "off"
    check("auto")
    with pytest.raises(ModelhubError) as caught:
        check("strict")
    assert caught.value.code == "no_sandbox"
