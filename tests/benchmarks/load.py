"""From a click to a usable model: ``python -m tests.benchmarks.load [--rounds N] [--models ...]``.

One run, contestants in turn, medians and ratios. modelhub's time is from POST to ``model_load_completed``,
forward pass included; all feed the model one token. "cold" has dropped the files from the page cache first
(posix_fadvise), "warm" has not. Overclaim is the worst event's: bytes said to be in memory that were not.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.resident import resident_bytes
from tests.server import ROOT, TERMINAL, Server, Watcher

MODELS = ("demo/random-0.1gb", "demo/random-0.5gb", "demo/random-2gb")


class Contest:
    """All contestants over one model."""

    def __init__(self, server: Server, watcher: Watcher, model_id: str) -> None:
        self._server, self._watcher, self._model_id = server, watcher, model_id
        self._folder = server.data_dir / "demo" / model_id
        self._weights = sorted(self._folder.glob("*.safetensors"))
        self.overclaim = 0.0
        arguments = [sys.executable, "-m", "tests.benchmarks.peer", str(self._folder), "--stay"]
        self._peer = subprocess.Popen(
            arguments,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._peer.stdout is not None
        assert self._peer.stdout.readline().strip() == "ready"

    def contestants(self) -> dict[str, Callable[[], float]]:
        """Name -> what runs it once and answers the seconds it took."""
        return {
            "modelhub": self._modelhub,
            "warm process": lambda: self._ask("load"),
            "fresh process": self._fresh,
            "floor": lambda: self._ask("floor"),
        }

    def drop(self) -> None:
        """Drop the model's files from the page cache."""
        for path in self._folder.iterdir():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)

    def close(self) -> None:
        """End the peer."""
        self._peer.kill()
        self._peer.wait()

    def _modelhub(self) -> float:
        watcher, model_id = self._watcher, self._model_id
        seen, began = len(watcher.events), time.monotonic()
        self._server.request_load(model_id)
        told = seen
        while not any(name in TERMINAL for name, _ in watcher.events[seen:]):
            if len(watcher.events) > told:
                told = len(watcher.events)
                self._check(watcher.events[-1][1])
            time.sleep(0.001)
        name, payload = watcher.events[-1]
        assert name == "model_load_completed", payload["error"]
        seconds = watcher.times[-1] - began
        self._server.delete(f"/api/models/{model_id}")
        return seconds

    def _check(self, payload: dict[str, Any]) -> None:
        """How much more the event says is in memory than is, as a share of the whole."""
        if payload["step"] == 5 and payload["done"] is not None and payload["size"]:
            share = payload["done"] / payload["size"] - self.cached() / payload["size"]
            self.overclaim = max(self.overclaim, share)

    def cached(self) -> int:
        """Bytes of the weights that are in memory."""
        return sum(resident_bytes(path) for path in self._weights)

    def _ask(self, what: str) -> float:
        assert self._peer.stdin is not None
        assert self._peer.stdout is not None
        self._peer.stdin.write(what + "\n")
        self._peer.stdin.flush()
        return float(self._peer.stdout.readline())

    def _fresh(self) -> float:
        began = time.monotonic()
        arguments = [sys.executable, "-m", "tests.benchmarks.peer", str(self._folder)]
        subprocess.run(arguments, cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
        return time.monotonic() - began


def main() -> None:
    """Run it, print a table and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--models", nargs="*", default=MODELS)
    parser.add_argument("--data", type=Path, help="where the demo models are made and kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(options.data or Path(folder)).start().wait_warm()
        watcher = Watcher(server.url)
        watcher.subscribe()
        rows = [row for model_id in options.models for row in _run(server, watcher, model_id, options.rounds)]
        watcher.close()
        server.stop()
    print(f"disk read-ahead: {_read_ahead()} KiB; medians of {options.rounds} interleaved rounds, in seconds")
    print(
        f"{'model':<20}{'cache':<6}" + "".join(f"{name:>16}" for name in rows[0]["seconds"]) + "  overclaim"
    )
    for row in rows:
        ours = row["seconds"]["modelhub"]
        cells = [f"{seconds:.2f} ({ours / seconds:.2f})" for seconds in row["seconds"].values()]
        print(
            f"{row['model']:<20}{row['cache']:<6}"
            + "".join(f"{c:>16}" for c in cells)
            + f"{row['overclaim']:>11.2%}"
        )
    print("In brackets: modelhub's time as a ratio of theirs.")
    print(json.dumps(rows))


def _run(server: Server, watcher: Watcher, model_id: str, rounds: int) -> list[dict[str, Any]]:
    made = server.load(model_id, timeout_s=300)
    assert made["state"] == "ready", made["error"]
    server.delete(f"/api/models/{model_id}")
    contest = Contest(server, watcher, model_id)
    rows = []
    for cache in ("warm", "cold"):
        contest.overclaim = 0.0
        seconds: dict[str, list[float]] = {name: [] for name in contest.contestants()}
        for _ in range(rounds):
            for name, run in contest.contestants().items():
                if cache == "cold":
                    contest.drop()
                seconds[name].append(run())
        medians = {name: round(statistics.median(values), 4) for name, values in seconds.items()}
        rows.append(
            {"model": model_id, "cache": cache, "seconds": medians, "overclaim": round(contest.overclaim, 4)}
        )
    contest.close()
    return rows


def _read_ahead() -> str:
    found = {path.read_text().strip() for path in Path("/sys/block").glob("vd*/queue/read_ahead_kb")}
    found |= {path.read_text().strip() for path in Path("/sys/block").glob("[sn]*/queue/read_ahead_kb")}
    return "/".join(sorted(found)) or "unknown"


if __name__ == "__main__":
    main()
