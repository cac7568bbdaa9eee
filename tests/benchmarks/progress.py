"""The cost of events: ``python -m tests.benchmarks.progress [--rounds N] [--watchers N] [--data DIR]``.

The same load on two servers, in turn: one emits progress events to watchers, the other none. Watchers
take processor time on the same machine: hence one by default, as when one page is open.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from tests.support.resident import drop_all
from tests.support.server import Server
from tests.support.watcher import Watcher


def main() -> None:
    """Run it, print a table and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--watchers", type=int, default=1)
    parser.add_argument("--data", type=Path, help="where the demo models are made and kept")
    parser.add_argument("--model", default="demo/random-2gb")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = options.data or Path(folder) / "data"
        emitting, silent = Server(data), Server(Path(folder) / "silent", MODELS_DIR=data / "demo")
        silent.command = ["-m", "tests.benchmarks.silent_server"]
        try:
            emitting.start().wait_warm().load(options.model, timeout_s=300)
            emitting.delete(f"/api/models/{options.model}")
            silent.start().wait_warm()
            watchers = [Watcher(emitting.url) for _ in range(options.watchers)]
            for watcher in watchers:
                watcher.subscribe(options.model)
            rows = [
                _measure(emitting, silent, options.model, cache, options.rounds) for cache in ("warm", "cold")
            ]
            for watcher in watchers:
                watcher.close()
        finally:
            for server in (emitting, silent):
                if server.process is not None:
                    server.stop()
    print(f"{options.model}, medians of {options.rounds} interleaved rounds, in seconds")
    for row in rows:
        print(f"{row['cache']:<6}{row['emitting']:>8.3f} with events to {options.watchers}")
        print(f"      {row['silent']:>8.3f} without progress events")
        print(f"      events cost {row['cost']:.1%}")
    print(json.dumps(rows))


def _measure(
    emitting: Server, silent: Server, model_id: str, cache: str, rounds: int
) -> dict[str, float | str]:
    servers = {"emitting": emitting, "silent": silent}
    seconds: dict[str, list[float]] = {name: [] for name in servers}
    for number in range(rounds):
        for name in sorted(servers, reverse=bool(number % 2)):
            if cache == "cold":
                drop_all(emitting.data_dir / "demo" / model_id)
            ended = servers[name].load(model_id)
            assert ended["state"] == "ready", ended["error"]
            seconds[name].append(ended["seconds"])
            servers[name].delete(f"/api/models/{model_id}")
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {"cache": cache, **medians, "cost": round(medians["emitting"] / medians["silent"] - 1, 4)}


if __name__ == "__main__":
    main()
