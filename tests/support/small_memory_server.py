"""The server on a machine with little memory, for tests: ``python -m tests.support.small_memory_server``.

The file ``memory`` in the data folder has the bytes that its models can use, as of now. What their processes
have taken beyond what they share with the zygote is measured, and what is left is what the server calls free.
Only how much memory there is at all is made up: a control group can set that too, but not everywhere.
"""

from __future__ import annotations

import os
from pathlib import Path

from modelhub.server import create, serve  # patches first of all

# isort: split
import psutil

from modelhub import memory

_SIZE = Path(os.environ["MODELHUB_DATA_DIR"], "memory")


def _total(_: Path | None = None) -> int:
    return int(_SIZE.read_text())


def _free(_: Path | None = None) -> int:
    titles = {process.pid: _title(process) for process in psutil.Process().children(recursive=True)}
    shared = sum(memory.anonymous_bytes(pid) for pid, title in titles.items() if title.endswith(": zygote"))
    models = [pid for pid, title in titles.items() if "/" in title.partition("modelhub: ")[2]]
    taken = sum(max(0, memory.anonymous_bytes(pid) - shared) for pid in models)
    return max(0, _total() - taken)


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()).strip()
    except psutil.Error:
        return ""


memory.total_bytes = _total
memory.free_bytes = _free

if __name__ == "__main__":
    serve(create())
