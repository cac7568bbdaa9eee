"""A model larger than the memory that is left: ``python -m tests.benchmarks.small_memory [--data DIR]``.

Runs a server in a memory control group of its own (version 1 or 2; needs root), with ``--room`` MB left once
it is warm, and loads the demo model of 0.5 GB in it: first without force, then with it. The bytes
read from the disk are printed as a multiple of the model's size: thrashing would read the same pages again.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import psutil

from modelhub import units
from tests.support.resident import drop_all
from tests.support.server import Server

MODEL = "demo/random-0.5gb"
_GROUPS = Path("/sys/fs/cgroup")


class Group:
    """A memory control group below the one that this process is in; this process moves into it."""

    def __init__(self) -> None:
        lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
        old = next((path for _, controllers, path in lines if "memory" in controllers.split(",")), None)
        top = _GROUPS / "memory" if old is not None else _GROUPS
        path = old if old is not None else next(path for number, _, path in lines if number == "0")
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        self._limit, self._usage, self._inactive = (
            names if old is not None else ("memory.max", "memory.current", "inactive_file")
        )
        self.folder = top / path.lstrip("/") / f"modelhub-{os.getpid()}"
        self.folder.mkdir()
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def used(self) -> int:
        """Bytes in use that cannot be reclaimed."""
        stat = dict(line.split() for line in (self.folder / "memory.stat").read_text().splitlines())
        return int((self.folder / self._usage).read_text()) - int(stat[self._inactive])

    def limit(self, size: int) -> None:
        """Set the limit in bytes."""
        (self.folder / self._limit).write_text(str(size))


def main() -> None:
    """Run it, print the outcome and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="where the demo model is made and kept")
    parser.add_argument("--room", type=int, default=300, metavar="MB")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(options.data or Path(folder) / "data")
        group = Group()
        try:
            server.start().wait_warm().load(MODEL, timeout_s=300)
            server.delete(f"/api/models/{MODEL}")
            server.wait_spare()
            drop_all(server.data_dir / "demo" / MODEL)
            group.limit(group.used() + options.room * 10**6)
            row = _measure(server)
        finally:
            group.limit(2**40)
            server.stop()
    print(json.dumps({"small_memory": row | {"room_bytes": options.room * 10**6}}))


def _measure(server: Server) -> dict[str, float | str]:
    refused = server.load(MODEL)
    print(f"no force: {refused['error']['message']}")
    began = time.monotonic()
    before = _read_bytes(server)
    server.post("/api/loads", {"model": MODEL, "force": True}).raise_for_status()
    ended = server.wait_state(MODEL, ("ready", "failed"), 300)
    assert ended["state"] == "ready", ended["error"]
    seconds = time.monotonic() - began
    times = (_read_bytes(server) - before) / ended["bytes"]
    print(f"by force: ready in {units.duration(seconds)}, {times:.2f} times the model was read")
    return {"refused": refused["error"]["code"], "seconds": round(seconds, 2), "read_times": round(times, 2)}


def _read_bytes(server: Server) -> int:
    """What the server's processes have had read from the disk."""
    family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
    return sum(process.io_counters().read_bytes for process in family)


if __name__ == "__main__":
    main()
