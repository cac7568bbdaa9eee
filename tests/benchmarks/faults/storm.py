"""A storm of random calls in full: ``python -m tests.benchmarks.faults.storm [--clients 32] [--calls 1024]``.

Each client makes so many calls: load, watch, cancel, unload, predict. Prints what was answered, the slowest,
and the server's memory and handles before and after. Fails on an answer that is not documented, on a server
that is not consistent at the end, and on a log that a person could not read.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import psutil

from tests.support import models
from tests.support.invariants import check_invariants
from tests.support.random_calls import Crowd, unreadable
from tests.support.server import Server


def main() -> None:
    """Run it, print what it found and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--calls", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, make in models.FOUR.items():
            make(Path(folder) / "models" / name)
        server = Server(Path(folder) / "data", MODELS_DIR=Path(folder) / "models").start().wait_warm()
        process = psutil.Process(server.pid)
        read, before = len(server.log()), (process.memory_info().rss, process.num_fds())
        crowd = Crowd(server, options.clients, options.calls, options.seed)
        began = time.monotonic()
        crowd.run(timeout_s=4 * 3600)
        seconds = time.monotonic() - began
        check_invariants(server)
        after = (process.memory_info().rss, process.num_fds())
        why = unreadable(server.log()[read:], len(crowd.loads))
        server.stop()
    for what, count in sorted(crowd.answers.items()):
        print(f"{what:<14}{count:>8,}")
    print(f"memory {before[0] / 1e6:.0f} -> {after[0] / 1e6:.0f} MB, handles {before[1]} -> {after[1]}")
    print(json.dumps({"s": round(seconds, 1), "slowest_s": round(crowd.slowest_s, 2), **crowd.answers}))
    assert not crowd.objections, "\n".join(crowd.objections[:20])
    assert not why, why


if __name__ == "__main__":
    main()
