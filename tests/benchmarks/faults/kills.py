"""Signals to the process of a load at random moments: ``python -m tests.benchmarks.faults.kills``.

``--count`` of each of SIGKILL, SIGSEGV and SIGBUS. Prints by signal, and by the step at which the load was,
how soon a watcher had the failure; then what was wrong, and a JSON line. Exits with 1 where anything was:
another cause than the true one, an event after a second, or a server that is inconsistent in the end.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from modelhub import units
from tests.support.invariants import check_invariants
from tests.support.killing import CAUSES, LARGE, Kill, kill_at, make_large, typical_seconds
from tests.support.page_states import SLOW_DISK
from tests.support.server import Server
from tests.support.watcher import Watcher

_MOST_S = 1.0


def main() -> None:
    """Run it, print the table and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        make_large(Path(folder) / "models")
        server = Server(Path(folder) / "data", SLOW_DISK, MODELS_DIR=Path(folder) / "models").start()
        watcher = Watcher(server.wait_warm().url)
        try:
            watcher.subscribe(LARGE)
            seconds = typical_seconds(server)
            found = [
                kill_at(server, watcher, chance.uniform(0, seconds), number)
                for _ in range(options.count)
                for number in CAUSES
            ]
            check_invariants(server)
        finally:
            watcher.close()
            server.stop()
    failed = [kill for kill in found if kill.state == "failed"]
    wrong = [kill for kill in found if not kill.is_right or (kill in failed and kill.told_s > _MOST_S)]
    print(f"{len(found)} signals in a load of {units.duration(seconds)}, seed {options.seed}")
    print(f"{len(failed)} of them met it; the others came before it had begun, or once it was ready.\n")
    _print_table(failed)
    for kill in wrong:
        print(f"wrong: {kill}")
    told = sorted(kill.told_s for kill in failed)
    result = {
        "signals": len(found),
        "met": len(failed),
        "told_median_s": round(told[len(told) // 2], 4),
        "told_most_s": round(told[-1], 4),
        "wrong": len(wrong),
        "seed": options.seed,
    }
    print(json.dumps({"faults_kills": result}))
    sys.exit(1 if wrong else 0)


def _print_table(failed: Sequence[Kill]) -> None:
    """One row for each signal, and one for each step in which loads were met."""
    rows: dict[str, list[float]] = {}
    for kill in failed:
        for name in (kill.number.name, f"step {kill.step}"):
            rows.setdefault(name, []).append(kill.told_s)
    print(f"{'':10} {'times':>6} {'told, median':>13} {'told, most':>11}")
    for name, seconds in sorted(rows.items()):
        ordered = sorted(seconds)
        median, most = map(units.duration, (ordered[len(ordered) // 2], ordered[-1]))
        print(f"{name:10} {len(ordered):6} {median:>13} {most:>11}")
    print()


if __name__ == "__main__":
    main()
