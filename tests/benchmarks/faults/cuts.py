"""Clients that are cut off at random: ``python -m tests.benchmarks.faults.cuts [--cuts 1000]``.

Fails where a client's last state is not the server's, or where one has shown an event twice or gone back.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

from tests.support.cutting import cut_at_random
from tests.support.ids import DEMO
from tests.support.invariants import check_invariants
from tests.support.server import Server


def main() -> None:
    """Run it, and print how long it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder)).start().wait_warm()
        try:
            cut_at_random(server, DEMO, options.cuts, random.Random(options.seed))
            check_invariants(server)
        finally:
            server.stop()
    print(f"{options.cuts} cuts in {time.monotonic() - began:.0f} s: every client shows what the server says")


if __name__ == "__main__":
    main()
