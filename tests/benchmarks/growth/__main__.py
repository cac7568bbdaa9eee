"""What work costs as it grows: ``python -m tests.benchmarks.growth [CASE ...]``.

Each case is a module of this package with a function ``measure() -> list[Row]``; without arguments all run.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil

from tests.benchmarks import growth
from tests.benchmarks.growth import Row


def main() -> None:
    """Run the cases, print a table and a JSON line."""
    cases = sorted(
        module.name for module in pkgutil.iter_modules(growth.__path__) if module.name != "__main__"
    )
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(cases))
    chosen = parser.parse_args().cases or cases
    rows: list[Row] = []
    print(f"{'place':<68}{'measured':>14}  held to")
    for name in chosen:
        for row in importlib.import_module(f"{growth.__name__}.{name}").measure():
            rows.append(row)
            bound = "" if row.bound is None else f"<= {row.bound:g} {row.unit}"
            missed = "" if row.is_met else "  MISSED"
            print(f"{row.place:<68}{row.measured:>10.4g} {row.unit:<4} {bound}{missed}", flush=True)
    print(json.dumps([row._asdict() for row in rows]))


if __name__ == "__main__":
    main()
