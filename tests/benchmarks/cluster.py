"""A load on a node against one on this machine: ``python -m tests.benchmarks.cluster [--rounds N]``.

Both in turn, warm, with a spare and the files in the page cache, without a server: milliseconds from the
request (the conditions of the load, then its worker) to the first checkpoint and to ready, and of a cancelled
load until its process was reaped. Bar: ready on a node within 1.1 times what it takes here, by the medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from modelhub.checkpoints import LoadSpec
from modelhub.cluster.machines import ClusterMachines
from modelhub.core.catalogue import Catalogue
from modelhub.core.one_machine import LocalMachine
from modelhub.workers.launcher import Launcher
from modelhub.workers.machine import Machine
from tests.support.cluster import Cluster, wait_for
from tests.support.models import make_sparse_llama

BAR = 1.1
MODELS = {"tiny": "tiny/model", "0.1 GB": "demo/random-0.1gb", "0.5 GB": "demo/random-0.5gb"}
_SETTLE_S = 0.3


def main() -> int:
    """Measure, print a table and a line of JSON; 1 where the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="mh") as name:
        folder = Path(name)
        make_sparse_llama(folder / "models" / "tiny" / "model", 300)
        cluster = Cluster(folder)
        try:
            return _measure(cluster, folder, rounds)
        finally:
            cluster.close()


def _measure(cluster: Cluster, folder: Path, rounds: int) -> int:
    cluster.start_head()
    cluster.start_node("a", MODELHUB_MODELS_DIR=str(folder / "models"))
    demos = folder / "a" / "data" / "demo"  # one copy of the files for both
    machines, catalogue = ClusterMachines(cluster.address), Catalogue(folder / "models", demo_dir=demos)
    with Launcher(catalogue.model_types) as launcher:
        launcher.start()
        machines.start()
        try:
            wait_for(lambda: launcher.warm.is_set() and machines.status()["state"] == "warm", 120)
            both: dict[str, Machine] = {
                "local": LocalMachine(launcher, catalogue),
                "node": machines.all()[0],
            }
            return _report(
                {
                    label: _rounds(both, LoadSpec(model, str(folder / "models"), str(demos)), rounds)
                    for label, model in MODELS.items()
                }
            )
        finally:
            machines.close()


def _rounds(both: dict[str, Machine], spec: LoadSpec, rounds: int) -> dict[str, dict[str, float]]:
    """The medians in milliseconds, by what was measured and where; the first round only warms up."""
    found: dict[str, dict[str, list[float]]] = {}
    used: set[int | None] = {None}
    for number in range(rounds + 1):
        for place, machine in both.items() if number % 2 else reversed(both.items()):
            for measure in (_load, _cancel):
                machine.prepare_spare()
                wait_for(lambda machine=machine: machine.status()["spare"] not in used, 30)
                used.add(machine.status()["spare"])
                time.sleep(_SETTLE_S)
                for what, seconds in measure(machine, spec).items():
                    if number:
                        found.setdefault(what, {}).setdefault(place, []).append(1000 * seconds)
    return {
        what: {place: statistics.median(all_) for place, all_ in by.items()} for what, by in found.items()
    }


def _load(machine: Machine, spec: LoadSpec) -> dict[str, float]:
    seconds = _timed()
    conditions = machine.ask_conditions(spec)
    with machine.worker(spec) as worker:
        worker.begin(spec)
        conditions()
        load, found = worker.load(spec), dict[str, float]()
        while True:
            try:
                checkpoint = next(load)
            except StopIteration:
                return {**found, "ready": seconds()}
            if checkpoint is not None:
                found.setdefault("first checkpoint", seconds())


def _cancel(machine: Machine, spec: LoadSpec) -> dict[str, float]:
    with machine.worker(spec) as worker:
        load = worker.load(spec)
        while (checkpoint := next(load)) is None or checkpoint.step < 2:
            pass
        seconds = _timed()
        worker.kill()
        assert worker.wait()
        return {"cancelled and reaped": seconds()}


def _timed() -> Callable[[], float]:
    started = time.perf_counter()
    return lambda: time.perf_counter() - started


def _report(results: dict[str, dict[str, dict[str, float]]]) -> int:
    print(f"{'':8} {'median of':22} {'local':>9} {'node':>9}  ratio")
    for label, measured in results.items():
        for what, by in measured.items():
            ratio = by["node"] / by["local"]
            print(f"{label:8} {what:22} {by['local']:6.1f} ms {by['node']:6.1f} ms  {ratio:.2f}")
    worst = max(by["ready"]["node"] / by["ready"]["local"] for by in results.values())
    print(json.dumps({"benchmark": "cluster", "bar": BAR, "ready_ratio": round(worst, 3), "ms": results}))
    return int(worst > BAR)


if __name__ == "__main__":
    sys.exit(main())
