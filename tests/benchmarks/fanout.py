"""Events to many watchers: ``python -m tests.benchmarks.fanout [--rounds N] [--watchers 10,100,500,1000]``.

modelhub's fan-out against python-socketio's own emit, interleaved, on two servers that differ in one setting.
Stock is measured without and with the compression that every browser asks for. For each number of watchers:
ten events a second (CPU of the web process, delivery latency, events that must not be lost), then as fast as
all watchers keep up (deliveries a second). Watchers are bare sockets in one or two processes of their own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.support.server import ROOT, Server
from tests.support.truth import must_arrive

MODEL = "demo/random-0.1gb"
MODES = {"fan-out": ("on", True), "stock": ("off", False), "stock, compressed": ("off", True)}
PACED_EVENTS, FLOOD_S = 50, 2.0


class Crowd:
    """The processes in which the watchers of one server live."""

    def __init__(self, port: int, count: int, deflate: bool) -> None:
        shares = [count] if count < 100 else [count // 2, count - count // 2]
        self.processes = [
            subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.benchmarks.watchers",
                    str(port),
                    MODEL,
                    str(share),
                    str(deflate),
                ],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for share in shares
        ]
        for process in self.processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"

    def report(self) -> dict[str, Any]:
        """What all of them received since the last report."""
        reports = []
        for process in self.processes:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("report\n")
            process.stdin.flush()
            reports.append(json.loads(process.stdout.readline()))
        return {
            "seqs": [seqs for report in reports for seqs in report["seqs"]],
            "latencies": sorted(value for report in reports for value in report["latencies"]),
            "first": min(report["first"] for report in reports),
            "last": max(report["last"] for report in reports),
            "lost": sum(report["lost"] for report in reports),
        }

    def final_report(self) -> dict[str, Any]:
        """The report once nothing has arrived for half a second."""
        report = self.report()
        while True:
            time.sleep(0.5)
            more = self.report()
            if not any(more["seqs"]):
                return report
            report["seqs"] = [old + new for old, new in zip(report["seqs"], more["seqs"], strict=True)]
            report["latencies"] = sorted(report["latencies"] + more["latencies"])
            report["last"], report["lost"] = more["last"], more["lost"]

    def close(self) -> None:
        """End the processes."""
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(30)


def measure(server: Server, count: int, deflate: bool) -> dict[str, float]:
    """One crowd at one server: paced, then flooded."""
    crowd = Crowd(server.port, count, deflate)
    paced = server.get(f"/tell?id={MODEL}&events={PACED_EVENTS}&interval=0.1&loads=1").json()
    paced_report = crowd.final_report()
    flood = server.get(f"/tell?id={MODEL}&events=200&seconds={FLOOD_S}&drain").json()
    flood_report = crowd.final_report()
    crowd.close()
    missing = 0
    for emitted, received in ((paced, paced_report), (flood, flood_report)):
        kept = must_arrive(emitted["told"])
        missing += sum(len(kept.difference(seqs)) for seqs in received["seqs"])
        assert all(seqs == sorted(set(seqs)) for seqs in received["seqs"]), "out of order, or twice"
    delivered = sum(len(seqs) for seqs in flood_report["seqs"])
    latencies = paced_report["latencies"]
    return {
        "core_percent": 100 * paced["cpu_s"] / paced["wall_s"],
        "p50_ms": 1000 * latencies[len(latencies) // 2],
        "p99_ms": 1000 * latencies[int(len(latencies) * 0.99)],
        "deliveries_s": delivered / (flood_report["last"] - flood_report["first"]),
        "deliveries_cpu_s": delivered / flood["cpu_s"],
        "left_out_percent": 100 * (1 - delivered / (count * len(flood["told"]))),
        "missing": missing,
        "dropped": flood_report["lost"],
    }


def main() -> None:
    """Run it, print a table and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--watchers", default="10,100,500,1000")
    options = parser.parse_args()
    results: dict[tuple[int, str], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        servers = {}
        for fanout in ("on", "off"):
            servers[fanout] = Server(Path(folder) / fanout, FANOUT=fanout)
            servers[fanout].command = ["-m", "tests.support.telling_server"]
            servers[fanout].start().wait_warm()
        for _ in range(options.rounds):
            for count in map(int, options.watchers.split(",")):
                for mode, (fanout, deflate) in MODES.items():
                    results.setdefault((count, mode), []).append(measure(servers[fanout], count, deflate))
        for server in servers.values():
            server.get(
                "/livez"
            )  # wait until it is idle: a writer of engineio that runs at that moment would swallow the signal
            server.stop()
    show(results)


def show(results: dict[tuple[int, str], list[dict[str, float]]]) -> None:
    """Medians over the rounds; what was lost and left out, summed or at its worst."""
    print(f"{'watchers':<10}{'how':<18}{'% core':>7}{'p50 ms':>9}{'p99 ms':>9}{'deliveries/s':>14}", end="")
    print(f"{'x stock':>9}{'per CPU s':>11}{'left out':>10}{'lost':>6}{'dropped':>9}")
    line = {}
    for (count, mode), rounds in results.items():
        row = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
        row |= {name: sum(one[name] for one in rounds) for name in ("missing", "dropped")}
        stock = [one["deliveries_s"] for one in results[count, "stock"]]
        ratios = [one["deliveries_s"] / other for one, other in zip(rounds, stock, strict=True)]
        row["times_stock"] = statistics.median(ratios)
        print(
            f"{count:<10}{mode:<18}{row['core_percent']:>7.1f}{row['p50_ms']:>9.1f}{row['p99_ms']:>9.1f}"
            f"{row['deliveries_s']:>14,.0f}{row['times_stock']:>9.1f}{row['deliveries_cpu_s']:>11,.0f}"
            f"{row['left_out_percent']:>9.0f}%"
            f"{row['missing']:>6.0f}{row['dropped']:>9.0f}"
        )
        line[f"{count} {mode}"] = {name: round(value, 3) for name, value in row.items()}
    print(json.dumps(line))


if __name__ == "__main__":
    main()
