"""Chat with a loaded model, beside transformers serve: ``python -m tests.benchmarks.generation --peers DIR``.

One run, both servers in turn, in another order each round, the same model and the same client (that of
``transformers chat``). ``--peers`` names a folder for the environment of transformers serve, made there by
pip. Prints medians, what each is held to, and a line of JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import psutil

from tests.benchmarks.generation.cases import Peer, first_tokens, measure
from tests.benchmarks.generation.fixtures import LARGE, SMALL
from tests.benchmarks.generation.peers import Modelhub, TransformersServe
from tests.benchmarks.generation.rows import Samples, rows
from tests.benchmarks.load.environments import serve_python
from tests.benchmarks.load.fixtures import make

_FIRST_TOKENS = 3  # times in each round


def main() -> None:
    """Run it, print the table and a JSON line."""
    options = _options()
    fixture, other = (SMALL, LARGE) if options.small else (LARGE, SMALL)
    models = options.data / "models"
    folder, _ = make(fixture, models), make(other, models)
    samples: Samples = {}
    busy = psutil.cpu_percent(interval=2)
    with ExitStack() as stack, tempfile.TemporaryDirectory() as scratch:
        peers: list[Peer] = [Modelhub(Path(scratch), models, fixture.model_id, other.model_id)]
        if options.peers is not None:
            peers.append(TransformersServe(serve_python(options.peers), folder))
        if options.peers is not None and options.batching:
            peers.append(TransformersServe(serve_python(options.peers), folder, "--continuous-batching"))
        for peer in peers:
            stack.callback(peer.close)
        for number in range(options.rounds):
            for peer in random.Random(number).sample(peers, len(peers)):
                print(f"round {number + 1} of {options.rounds}: {peer.name}", file=sys.stderr)
                for case, value in measure(peer):
                    samples.setdefault(peer.name, {}).setdefault(case, []).append(value)
                peer.unload()
        for name, case, value in first_tokens(peers, _FIRST_TOKENS * options.rounds):
            samples.setdefault(name, {}).setdefault(case, []).append(value)
    _show(samples, fixture.title, options.rounds, busy)


def _show(samples: Samples, title: str, rounds: int, busy: float) -> None:
    print(f"{title}, medians of {rounds} rounds; the processors were {busy:.0f} % busy before.\n")
    found = list(rows(samples))
    for row in found:
        held = f"{'>=' if row.at_least else '<='} {row.bound:.2f} {row.unit}"
        print(f"{row.title:<64}{row.value:>9.2f}{held:>12}  {'met' if row.met else 'MISSED'}")
    print(f"\n{'seconds, or tokens/s':<40}" + "".join(f"{name:>32}" for name in samples))
    for case in samples["modelhub"]:
        cells = (median(cases[case]) if case in cases else float("nan") for cases in samples.values())
        print(f"{case:<40}" + "".join(f"{cell:>32.3f}" for cell in cells))
    print(json.dumps({"rounds": rounds, "rows": [row.to_json() for row in found], "samples": samples}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.generation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="a model of 0.4 GB instead of 1 GB")
    parser.add_argument("--batching", action="store_true", help="also serve with --continuous-batching")
    default = Path(tempfile.gettempdir()) / "modelhub-benchmarks"
    parser.add_argument("--data", type=Path, default=default, help=f"where models are kept ({default})")
    parser.add_argument("--peers", type=Path, help="where the environment of the peer is made and kept")
    return parser.parse_args()


if __name__ == "__main__":
    main()
