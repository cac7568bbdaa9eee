"""100 open dashboards of 2,000 models during loads: how soon the server answers anybody else."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.growth import Row
from tests.benchmarks.ticking import Latencies
from tests.support import models
from tests.support.many import make_many
from tests.support.server import ROOT, Server

DASHBOARDS, MODELS, LOADS = 100, 2000, 8


def measure() -> list[Row]:
    """Loads of small models, of one that nobody has, and a folder that comes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "models"
        make_many(folder, MODELS)
        first = models.make_llama(folder / "real" / "model-0")
        for number in range(1, LOADS):
            shutil.copytree(first, first.with_name(f"model-{number}"))
        server = Server(Path(name) / "data", MODELS_DIR=folder).start().wait_warm()
        command = [sys.executable, "-m", "tests.benchmarks.dashboards", str(server.port), str(DASHBOARDS)]
        crowd = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert crowd.stdin is not None
        assert crowd.stdout is not None
        assert crowd.stdout.readline() == "ready\n"
        time.sleep(1)
        during_loads = _during_loads(server)
        with Latencies(server.port) as after_change:
            shutil.copytree(first, first.with_name("added"))
            time.sleep(5)
        events, fetched = json.loads(crowd.communicate("report\n")[0])
        server.stop()
    return [
        Row(f"{DASHBOARDS} dashboards, {LOADS} loads: /livez, p50", during_loads.p(0.5), "ms"),
        Row(f"{DASHBOARDS} dashboards, {LOADS} loads: /livez, p99", during_loads.p(0.99), "ms", 50),
        Row(f"{DASHBOARDS} dashboards, a folder comes: /livez, p99", after_change.p(0.99), "ms", 50),
        Row(f"{DASHBOARDS} dashboards: messages to each", events / DASHBOARDS, ""),
        Row(f"{DASHBOARDS} dashboards: pages that each fetched", fetched / DASHBOARDS, ""),
    ]


def _during_loads(server: Server) -> Latencies:
    with Latencies(server.port) as latencies:
        for number in range(LOADS):
            server.request_load(f"real/model-{number}")
        server.request_load("nobody/nothing")
        for number in range(LOADS):
            server.wait_state(f"real/model-{number}", ("ready",))
        server.wait_state("nobody/nothing", ("failed",))
        server.unload_all()
        time.sleep(1)
    return latencies
