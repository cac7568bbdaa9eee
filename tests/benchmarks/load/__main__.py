"""From a click to a usable model: ``python -m tests.benchmarks.load [--rounds N] [--cases ...]``.

One run, all cases in turn, in another order each round; medians, and what each is held to. modelhub's time
is from the request to ``model_load_completed`` at a client, forward pass included; all feed the model one
token. "cold" has dropped the files from the page cache, "warm" has them in it, "again" is a load of a model
that was unloaded a moment before. Loads that are looked at for what they claim and for the memory they take
are not timed. ``--peers`` names a folder for environments of transformers serve, runai-model-streamer and
fastsafetensors (made there by pip); without it they are left out.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import psutil

from tests.benchmarks.load import audits, rounds, rows, table
from tests.benchmarks.load.contest import GROUPS, PEERS, Contest


def main() -> None:
    """Run it, print tables and a JSON line."""
    options = _options()
    groups = set(options.cases or (*GROUPS, *PEERS))
    with (
        tempfile.TemporaryDirectory() as scratch,
        Contest(options.data, Path(scratch), options.rest, options.peers) as contest,
    ):
        cases = contest.cases(groups)
        busy = psutil.cpu_percent(interval=2)
        looked = audits.run(contest, groups, options.audits, options.rest)
        samples = rounds.run(cases, options.rounds)
        errors = contest.errors() if "decode" in groups else {}
    found = [*rows.of_samples(samples), *rows.of_audits(looked)]
    print(f"The processors were {busy:.0f} % busy before the first case.")
    table.show(options.rounds, found, samples, looked, errors)
    if options.peers is None and groups & set(PEERS):
        print("left out without --peers: transformers serve, a fresh process, runai, fastsafetensors")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.load",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cases", nargs="*", choices=(*GROUPS, *PEERS), help="all by default")
    parser.add_argument("--audits", type=int, default=2, help="loads of each kind that are looked at")
    parser.add_argument("--rest", type=float, default=2.0, help="seconds from an unload to the next load")
    parser.add_argument("--quick", action="store_true", help="one round, one audit: to see that it runs")
    default = Path(tempfile.gettempdir()) / "modelhub-benchmarks"
    parser.add_argument("--data", type=Path, default=default, help=f"where models are kept ({default})")
    parser.add_argument("--peers", type=Path, help="where the peers' environments are made and kept")
    options = parser.parse_args()
    if options.quick:
        options.rounds = options.audits = 1
    return options


if __name__ == "__main__":
    main()
