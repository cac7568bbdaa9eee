"""Imports ahead start no thread, and forked children can load."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

CODE = """
import json, os, sys
from modelhub.loader import nine_steps
from modelhub.loader.preparation import import_ahead
from modelhub.loader.preparation import prepare_process
from modelhub.checkpoints import LoadSpec
import_ahead()
before, threads = set(sys.modules), len(os.listdir("/proc/self/task"))
child = os.fork()
if child == 0:
    prepare_process()
    for _ in nine_steps.load(LoadSpec(sys.argv[1], sys.argv[2], sys.argv[2], device="cpu")):
        pass
    new = [name for name in set(sys.modules) - before if name.startswith(("transformers.", "PIL"))]
    os.write(1, json.dumps({"threads": threads, "new": new}).encode())
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert len(os.listdir("/proc/self/task")) == 1
"""


def _fork_and_load(name: str, folder: Path) -> dict[str, Any]:
    one_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CODE, name, str(folder)],
        cwd=Path(__file__).resolve().parents[2], env=os.environ | one_thread,
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_a_forked_child_of_a_warm_process_loads(made: Path) -> None:
    report = _fork_and_load("tiny/llama", made)
    assert report["threads"] == 1
    other = [name for name in report["new"] if ".models." not in name]
    assert other == [], "import_ahead() should import these"
