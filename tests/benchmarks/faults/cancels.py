"""Cancels of a real load at hundreds of random moments: ``python -m tests.benchmarks.faults.cancels``.

``--count`` cancels, each of which ``--watchers`` clients see, by REST, command line and page in turn. Prints,
by the step at which the load was, how soon the last watcher had the event and how soon the process was gone;
then what was wrong, and a JSON line. Exits with 1 where anything was wrong: not all were told who asked, the
event or the exit took over a second, memory was not given back, or in the end the server is inconsistent.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from modelhub import units
from tests.support import cancelling
from tests.support.cancelling import Cancel
from tests.support.invariants import check_invariants
from tests.support.watcher import Watcher

_MOST_S = 1.0
_GROWTH = 1.02
_FIRST = 30  # until all is in memory that stays there


def main() -> None:
    """Run it, print the table and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--watchers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = cancelling.start_server(Path(folder))
        watchers = [Watcher(server.url) for _ in range(options.watchers)]
        try:
            for watcher in watchers:
                watcher.subscribe(cancelling.MODEL)
            seconds = cancelling.typical_seconds(server)
            many = cancelling.cancels(server, watchers, seconds, random.Random(options.seed))
            list(islice(many, _FIRST))
            before = cancelling.resident(server)
            found = list(islice(many, options.count))
            after = cancelling.resident(server)
            check_invariants(server)
        finally:
            for watcher in watchers:
                watcher.close()
            server.stop()
    growth = {name: round(size / before[name], 4) for name, size in after.items()}
    wrong = [cancel for cancel in found if _is_wrong(cancel, options.watchers)]
    print(f"{options.count} cancels of a load of {units.duration(seconds)}, seed {options.seed}\n")
    _print_table(found)
    for name, size in after.items():
        print(f"{name}: {units.size(before[name])} before, {units.size(size)} after")
    for cancel in wrong:
        print(f"wrong: {cancel}")
    told = sorted(cancel.told_s for cancel in found)
    result = {
        "cancels": len(found),
        "told_median_s": round(told[len(told) // 2], 4),
        "told_most_s": round(told[-1], 4),
        "gone_most_s": round(max(cancel.gone_s for cancel in found), 4),
        "growth": growth,
        "wrong": len(wrong),
        "seed": options.seed,
    }
    print(json.dumps({"faults_cancels": result}))
    sys.exit(1 if wrong or max(growth.values()) > _GROWTH else 0)


def _is_wrong(cancel: Cancel, watchers: int) -> bool:
    is_late = max(cancel.told_s, cancel.gone_s) > _MOST_S
    return is_late or cancel.said_by != (cancel.by,) * watchers


def _print_table(found: Iterable[Cancel]) -> None:
    """One row for each step in which loads were cancelled."""
    by_step: dict[str, list[Cancel]] = {}
    for cancel in found:
        by_step.setdefault("before step 1" if cancel.step is None else f"step {cancel.step}", []).append(
            cancel
        )
    print(f"{'cancelled':14} {'times':>6} {'told, median':>13} {'told, most':>11} {'gone, most':>11}")
    for name, cancels in sorted(by_step.items()):
        told = sorted(cancel.told_s for cancel in cancels)
        columns = (told[len(told) // 2], told[-1], max(cancel.gone_s for cancel in cancels))
        median, most, gone = map(units.duration, columns)
        print(f"{name:14} {len(cancels):6} {median:>13} {most:>11} {gone:>11}")
    print()


if __name__ == "__main__":
    main()
