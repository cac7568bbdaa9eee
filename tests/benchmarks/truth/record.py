"""Records traces of real loads: ``python -m tests.benchmarks.truth.record --out FILE [--cases ...]``.

Models are made once in the folder models of ``--data``, and kept. Cold loads drop files from the page cache.
A slow disk and little memory need control groups, and so root: without them these cases are left out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.truth import cases, troubles
from tests.benchmarks.truth.bench import Bench
from tests.benchmarks.truth.traces import Trace, line_of

CASES: dict[str, Callable[[Bench], None]] = {
    "first": cases.first,
    "plain": cases.plain,
    "fork": cases.fork,
    "again": cases.again,
    "cold-zygote": cases.cold_zygote,
    "two-at-once": cases.two_at_once,
    "demo": cases.demo,
    "throttled": troubles.throttled,
    "stall": troubles.stall,
    "download": troubles.download,
    "download-broken": troubles.download_broken,
    "download-stall": troubles.download_stall,
    "pressure": troubles.pressure,
}


def main() -> None:
    """Record; each trace is written as soon as its load has ended."""
    options = _options()
    models = options.data / "models"
    models.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=options.data) as scratch,
        options.out.open("a") as out,
    ):

        def emit(trace: Trace) -> None:
            out.write(line_of(trace))
            out.flush()
            print(f"  {trace['case']:16} {trace['model']:24} {trace['seconds']:7.2f} s", file=sys.stderr)

        bench = Bench(models, Path(scratch), options.repeats, options.quick, emit)
        for name in options.cases or CASES:
            _record(name, bench)


def _record(name: str, bench: Bench) -> None:
    began = time.monotonic()
    try:
        CASES[name](bench)
    except (OSError, AssertionError) as error:  # this machine does not allow it, or a load went wrong
        print(f"{name} was left: {error}", file=sys.stderr)
    print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.truth.record",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="the file that traces are added to")
    default = Path(tempfile.gettempdir()) / "modelhub-benchmarks"
    parser.add_argument("--data", type=Path, default=default, help=f"where models are kept ({default})")
    parser.add_argument("--cases", nargs="*", choices=tuple(CASES), help="all by default")
    parser.add_argument(
        "--repeats", type=int, default=3, help="of each load; at most 2 of those that take long"
    )
    parser.add_argument("--quick", action="store_true", help="one load of each case: to see that it works")
    return parser.parse_args()


if __name__ == "__main__":
    main()
