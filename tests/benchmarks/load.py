"""From a click to a usable model: ``python -m tests.benchmarks.load [--rounds N] [--peers DIR]``.

One run, contestants in turn, medians and ratios. modelhub's time is from POST to ``model_load_completed``,
forward pass included; all feed the model one token. "cold" has dropped the files from the page cache first
(posix_fadvise), "warm" has not. Overclaim is that of the worst event: bytes counted as in memory
that were not, by mincore. ``--peers`` names a folder for environments of transformers serve,
runai-model-streamer and fastsafetensors (made there by pip); without it they are left out.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.benchmarks import contestants, environments
from tests.benchmarks.contestants import Contestant, Fresh, Modelhub, Process, Serve
from tests.support.resident import drop
from tests.support.server import Server
from tests.support.watcher import Watcher

MODELS = ("demo/random-0.1gb", "demo/random-0.5gb", "demo/random-2gb")


def main() -> None:
    """Run it, print a table and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--models", nargs="*", default=MODELS)
    parser.add_argument("--data", type=Path, help="where the demo models are made and kept")
    parser.add_argument("--peers", type=Path, help="where the peers' environments are made and kept")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        server = Server(options.data or Path(folder)).start()
        try:
            watcher = Watcher(server.wait_warm().url)
            watcher.subscribe()
            for model_id in options.models:
                made = server.load(model_id, timeout_s=300)
                assert made["state"] == "ready", made["error"]
                server.delete(f"/api/models/{model_id}")
                rows += _contest(server, watcher, model_id, options.rounds, options.peers)
            watcher.close()
        finally:
            server.stop()
    _show(rows, options.rounds)


def _contest(
    server: Server, watcher: Watcher, model_id: str, rounds: int, peers: Path | None
) -> list[dict[str, Any]]:
    folder = server.data_dir / "demo" / model_id
    weights = sorted(folder.glob("*.safetensors"))
    ours = Modelhub(server, watcher, model_id, weights)
    all_of_them = [ours, *_others(folder, peers)]
    rows = []
    for cache in ("warm", "cold"):
        ours.overclaim, ours.missing = 0.0, 0
        seconds: dict[str, list[float]] = {one.name: [] for one in all_of_them}
        processor: dict[str, list[float]] = {one.name: [] for one in all_of_them}
        for _ in range(rounds):
            for one in all_of_them:
                if cache == "cold":
                    drop_all(folder)
                before = contestants.processor_seconds(one.tree) if one.tree else 0.0
                seconds[one.name].append(one.run())
                if one.tree:
                    processor[one.name].append(contestants.processor_seconds(one.tree) - before)
                one.rest()
        row = {
            "model": model_id,
            "cache": cache,
            "seconds": {name: round(statistics.median(values), 4) for name, values in seconds.items()},
            "processor_seconds": {
                name: round(statistics.median(values), 2) for name, values in processor.items() if values
            },
            "overclaim": round(ours.overclaim, 4),
            "not_in_memory": ours.missing,
        }
        rows.append(row | {"memory_mb": _memory(all_of_them, folder, weights, cache)})
    for one in all_of_them:
        one.close()
    return rows


def _others(folder: Path, peers: Path | None) -> list[Contestant]:
    stay = [sys.executable, "-m", "tests.benchmarks.peer", str(folder), "--stay"]
    others: list[Contestant] = [Process("warm process", stay, "load"), Fresh(folder)]
    if peers is not None:
        others.append(Serve(environments.serve_python(peers), folder))
        python = str(environments.streamers_python(peers))
        for name in ("runai", "fastsafetensors"):
            others.append(
                Process(name, [python, "-m", "tests.benchmarks.streamers", name, str(folder)], "load")
            )
    return [*others, Process("floor", stay, "floor")]


def _memory(all_of_them: list[Contestant], folder: Path, weights: list[Path], cache: str) -> dict[str, float]:
    """Highest memory of each one's processes in one more load, over what they held before and the weights."""
    size, found = sum(path.stat().st_size for path in weights), {}
    for one in all_of_them:
        if one.tree and one.name != "floor":
            if cache == "cold":
                drop_all(folder)
            with contestants.peak_memory(one.tree) as held:
                one.run()
            found[one.name] = round((held[1] - held[0] - size) / 1e6, 1)
            one.rest()
    return found


def drop_all(folder: Path) -> None:
    """Drop the model's files from the page cache."""
    for path in folder.iterdir():
        drop(path)


def _show(rows: list[dict[str, Any]], rounds: int) -> None:
    print(f"disk read-ahead: {_read_ahead()} KiB; medians of {rounds} interleaved rounds, in seconds")
    names = list(rows[0]["seconds"])
    print(f"{'model':<20}{'cache':<6}" + "".join(f"{name:>17}" for name in names) + f"{'overclaim':>11}")
    for row in rows:
        ours = row["seconds"]["modelhub"]
        cells = [f"{row['seconds'][name]:.2f} ({ours / row['seconds'][name]:.2f})" for name in names]
        cells_text = "".join(f"{cell:>17}" for cell in cells)
        print(f"{row['model']:<20}{row['cache']:<6}{cells_text}{row['overclaim']:>11.2%}")
    print("In brackets: modelhub's time as a ratio of theirs.")
    for title, key in (
        ("processor seconds", "processor_seconds"),
        ("peak memory over the weights, MB", "memory_mb"),
    ):
        print(f"\n{title}")
        for row in rows:
            values = "".join(f"{row[key].get(name, '-'):>17}" for name in names)
            print(f"{row['model']:<20}{row['cache']:<6}{values}")
    print(f"\nweights not in memory when ready: {max(row['not_in_memory'] for row in rows)} bytes")
    print(json.dumps(rows))


def _read_ahead() -> str:
    found = {path.read_text().strip() for path in Path("/sys/block").glob("vd*/queue/read_ahead_kb")}
    found |= {path.read_text().strip() for path in Path("/sys/block").glob("[sn]*/queue/read_ahead_kb")}
    return "/".join(sorted(found)) or "unknown"


if __name__ == "__main__":
    main()
