"""A process that confines itself for a model, and then tries what it may not: ``python -m`` with JSON.

Prints what each attempt has led to: ``done``, or the name of the error.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modelhub.checkpoints import LoadSpec
from modelhub.errors import ModelhubError
from modelhub.loader.files.local import find_local
from modelhub.workers.confinement.guard import Guard


def main() -> None:
    """Take ``spec``, ``port`` (of a server), ``foreign`` (a file) and ``spend`` from the argument."""
    given: dict[str, Any] = json.loads(sys.argv[1])
    spec = LoadSpec(**given["spec"])
    late = threading.Event()
    outcomes: dict[str, str] = {}
    earlier = threading.Thread(target=lambda: (late.wait(), _connect(outcomes, "earlier", given["port"])))
    earlier.start()
    local = find_local(spec)
    assert local is not None
    guard = Guard(spec, token="hf_secret")
    origin = guard.confine(local)
    for fetch in (origin.fetch_config, origin.fetch_processor, origin.fetch_weights):
        deque(fetch(), maxlen=0)
    if given["spend"] == "time":
        guard.begin(2)
        while True:
            pass
    attempts: dict[str, Callable[[], object]] = {
        "own": lambda: Path(local.files.folder, "config.json").read_text(),
        "module": lambda: importlib.import_module("xmlrpc.client"),
        "thread": lambda: threading.Thread(target=int).start(),
        "foreign": lambda: Path(given["foreign"]).read_text(),
        "sibling": lambda: list(Path(spec.models_dir).iterdir()),
        "other process": lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
        "write own": lambda: Path(local.files.folder, "config.json").write_text("{}"),
        "write": lambda: Path("/dev/shm/modelhub-confined").write_text("x"),
        "delete": lambda: os.unlink(given["foreign"]),
        "unix socket": lambda: socket.socket(socket.AF_UNIX),
        "program": lambda: subprocess.run(["/bin/true"], check=True),
        "fork": lambda: os.fork() or os._exit(0),
        "signal": lambda: os.kill(os.getppid(), 0),
        "memory": lambda: bytearray(2**30),
    }
    for name, attempt in attempts.items():
        outcomes[name] = _outcome(attempt)
    _connect(outcomes, "network", given["port"])
    late.set()
    earlier.join()
    outcomes["token"] = ", ".join(name for name in os.environ if name.startswith("HF_T"))
    exceeded = guard.explain(ModelhubError("out_of_memory", id="org/name", used="1 GB", limit="2 GB"))
    outcomes["code"] = exceeded.code
    print(json.dumps(outcomes))


def _connect(outcomes: dict[str, str], name: str, port: int) -> None:
    outcomes[name] = _outcome(lambda: socket.create_connection(("127.0.0.1", port), 5))


def _outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except Exception as error:
        return type(error).__name__
    return "done"


if __name__ == "__main__":
    main()
