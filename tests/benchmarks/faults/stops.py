"""Servers that end in a storm of subscribers: ``python -m tests.benchmarks.faults.stops [--servers 50]``.

Each gets one SIGTERM at a random moment. Prints how long they took to end; fails where one took over ten
seconds, or left a process.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
from pathlib import Path

import psutil

from tests.faults.test_stop import LIMIT_S, end, is_alive
from tests.support.ids import DEMO
from tests.support.server import Server, wait_until
from tests.support.subscribers import storm


def stop_one(folder: Path, rng: random.Random) -> float:
    """How many seconds one server took to end."""
    server = Server(folder).start()
    try:
        with storm(server.port, DEMO, threads=8) as subscribers:
            enough = rng.randrange(20, 1000)
            wait_until(lambda: subscribers.count > enough)
            children = psutil.Process(server.pid).children(recursive=True)
            took_s = end(server)
        assert not any(is_alive(child) for child in children)
    finally:
        server.kill()
    return took_s


def main() -> None:
    """Run it, and print what it found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", type=int, default=50)
    options = parser.parse_args()
    rng = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        took = [stop_one(Path(folder) / str(number), rng) for number in range(options.servers)]
    print(f"{len(took)} servers ended: median {statistics.median(took):.2f} s, at most {max(took):.2f} s")
    assert max(took) < LIMIT_S


if __name__ == "__main__":
    main()
