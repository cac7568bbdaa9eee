"""Watchers at two web processes: ``python -m tests.benchmarks.redis_watchers [--rounds N] [--watchers N]``.

Half of the watchers at each of two web processes, which follow a hub over Redis, against all of them at one
server without Redis; in turns. Ten events a second of a load that is told: how long after the hub has emitted
an event a watcher has it, and what the processes take of a core. Watchers are bare sockets in processes of
their own, on the same machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import psutil

from tests.benchmarks.fanout import MODEL, Crowd
from tests.support.redis_server import RedisServer
from tests.support.server import Server
from tests.support.truth import must_arrive
from tests.support.web_process import WebProcess

EVENTS = 50


def cpu_s(pid: int) -> float:
    """The processor time that a process has taken."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def measure(hub: Server, ports: list[int], watchers: int, pids: dict[str, int]) -> dict[str, float]:
    """The events of one load, to so many watchers in all at these ports."""
    crowds = [Crowd(port, watchers // len(ports), deflate=True) for port in ports]
    before = {name: cpu_s(pid) for name, pid in pids.items()}
    told: dict[str, Any] = hub.get(f"/tell?id={MODEL}&events={EVENTS}&interval=0.1&loads=1&pages").json()
    reports = [crowd.final_report() for crowd in crowds]
    after = {name: cpu_s(pid) for name, pid in pids.items()}
    for crowd in crowds:
        crowd.close()
    received = [seqs for report in reports for seqs in report["seqs"]]
    assert all(seqs == sorted(set(seqs)) for seqs in received), "out of order, or twice"
    needed = must_arrive(told["told"])
    latencies = sorted(value for report in reports for value in report["latencies"])
    cores = {name: 100 * (after[name] - before[name]) / told["wall_s"] for name in pids}
    return {
        "p50_ms": 1000 * latencies[len(latencies) // 2],
        "p99_ms": 1000 * latencies[int(len(latencies) * 0.99)],
        "missing": sum(len(needed.difference(seqs)) for seqs in received),
        **{f"{name}_core_percent": percent for name, percent in cores.items()},
    }


def main() -> None:
    """Run it, print a table and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--watchers", type=int, default=2000)
    options = parser.parse_args()
    results: dict[str, list[dict[str, float]]] = {"one process": [], "two web processes": []}
    redis = RedisServer().start()
    with tempfile.TemporaryDirectory() as folder:
        alone = Server(Path(folder) / "alone")
        hub = Server(Path(folder) / "hub", REDIS=redis.url)
        webs = [WebProcess(Path(folder) / name, redis.url) for name in ("one", "two")]
        servers = [alone, hub, *webs]
        try:
            for server in (alone, hub):
                server.command = ["-m", "tests.support.telling_server"]
                server.start().wait_warm()
            for web in webs:
                web.start().wait_live()
            assert redis.process is not None
            pids = {"web_one": webs[0].pid, "web_two": webs[1].pid, "hub": hub.pid}
            pids["redis"] = redis.process.pid
            for _ in range(options.rounds):
                one = measure(alone, [alone.port], options.watchers, {"server": alone.pid})
                results["one process"].append(one)
                two = measure(hub, [web.port for web in webs], options.watchers, pids)
                results["two web processes"].append(two)
        finally:
            for server in reversed(servers):
                if server.process is not None:
                    server.stop()
            redis.kill()
    show(results)


def show(results: dict[str, list[dict[str, float]]]) -> None:
    """Medians over the rounds; what was lost, summed."""
    line = {}
    for how, rounds in results.items():
        row = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
        row["missing"] = sum(one["missing"] for one in rounds)
        print(f"{how:<20}", "  ".join(f"{name} {value:.1f}" for name, value in row.items()))
        line[how] = {name: round(value, 2) for name, value in row.items()}
    print(json.dumps(line))


if __name__ == "__main__":
    main()
