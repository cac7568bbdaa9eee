"""Downloads against ``hf download``: ``python -m tests.benchmarks.download [--rounds N] [--gb SIZE]``.

Both fetch the same four shards from the small hub of the tests on loopback, in turn, into an empty cache, and
check what they fetch as they do for a user. Each is a process of its own. The table shows its whole
time, and the rate while bytes flow: for ``hf download`` the time of a second call, which finds everything
there, is subtracted; for modelhub it is the time of step 3.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support.hub_server import HubServer
from tests.support.server import ROOT

REPO = "bench/shards"
SHARDS = 4
OURS = """
import sys, time
from modelhub.model_ids import parse_model_id
from modelhub.loader.files.remote import HubRepository
repository = HubRepository(parse_model_id(sys.argv[1]), sys.argv[1])
for _ in (*repository.fetch_config(), *repository.fetch_processor()):
    pass
began = time.perf_counter()
for _ in repository.fetch_weights():
    pass
print(time.perf_counter() - began)
"""


def make(root: Path, size: int) -> int:
    """Make the repository; returns the bytes of its shards."""
    folder = root / REPO
    folder.mkdir(parents=True)
    names = [f"model-{number:05}-of-{SHARDS:05}.safetensors" for number in range(1, SHARDS + 1)]
    for name in names:
        with (folder / name).open("wb") as file:
            for _ in range(size // SHARDS // 2**20):
                file.write(os.urandom(2**20))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    index = {"metadata": {}, "weight_map": {str(number): name for number, name in enumerate(names)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return sum((folder / name).stat().st_size for name in names)


def run(command: list[str], environ: dict[str, str]) -> tuple[float, str]:
    """The seconds a command takes, and what it prints."""
    began = time.monotonic()
    done = subprocess.run(command, env=environ, cwd=ROOT, check=True, capture_output=True, text=True)
    return time.monotonic() - began, done.stdout


def main() -> None:
    """Run it, print a table and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gb", type=float, default=1.0)
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {"hf download": [], "modelhub": []}
    whole: dict[str, list[float]] = {"hf download": [], "modelhub": []}
    hf = [str(Path(sys.executable).parent / "hf"), "download", REPO]
    with tempfile.TemporaryDirectory() as folder, HubServer(Path(folder) / "hub") as hub:
        size = make(hub.root, int(options.gb * 10**9))
        hub.commit(REPO)
        home = Path(folder) / "home"
        environ = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
        for _ in range(options.rounds):
            first, _ = run(hf, environ)
            second, _ = run(hf, environ)
            seconds["hf download"].append(first - second)
            whole["hf download"].append(first)
            shutil.rmtree(home)
            took, printed = run([sys.executable, "-c", OURS, REPO], environ)
            seconds["modelhub"].append(float(printed))
            whole["modelhub"].append(took)
            shutil.rmtree(home)
    rates = {name: size / statistics.median(values) for name, values in seconds.items()}
    print(f"{size / 1e9:.2f} GB in {SHARDS} shards, medians of {options.rounds} interleaved rounds")
    print(f"{'':<14}{'whole, s':>10}{'bytes flow, s':>15}{'MB/s':>8}")
    for name, values in seconds.items():
        flow, all_of_it = statistics.median(values), statistics.median(whole[name])
        print(f"{name:<14}{all_of_it:>10.2f}{flow:>15.2f}{rates[name] / 1e6:>8.0f}")
    ratio = rates["modelhub"] / rates["hf download"]
    print(f"modelhub's rate is {ratio:.2f} of hf download's.")
    print(json.dumps({"bytes": size, "seconds": seconds, "whole": whole, "rate_ratio": round(ratio, 3)}))


if __name__ == "__main__":
    main()
