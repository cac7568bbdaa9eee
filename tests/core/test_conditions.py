"""What is known of a load before it begins, on real files; and that a server learns from its loads."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from modelhub.checkpoints import LoadSpec
from modelhub.core.catalogue import Catalogue
from modelhub.core.conditions import cached_share, conditions_of
from modelhub.workers.launcher import Launcher
from tests.support.ids import DEMO, LLAMA
from tests.support.resident import drop, resident_bytes
from tests.support.server import Server
from tests.support.types import StartServer

MB = 2**20


def _file(path: Path, size: int) -> tuple[Path, int]:
    path.write_bytes(os.urandom(size))
    return path, size


def test_the_share_that_is_in_the_page_cache_is_found_by_samples(tmp_path: Path) -> None:
    files = [_file(tmp_path / "a", 48 * MB), _file(tmp_path / "b", 16 * MB), _file(tmp_path / "c", 1000)]
    assert cached_share(files) == 1.0
    for path, _ in files:
        drop(path)
    assert cached_share(files) == 0.0
    (tmp_path / "a").read_bytes()
    real = sum(resident_bytes(path) for path, _ in files) / sum(size for _, size in files)
    assert cached_share(files) == pytest.approx(real, abs=0.05)


def test_a_file_that_is_gone_or_no_file_is_left_out(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert cached_share([(tmp_path / "none", 10), (tmp_path / "fifo", 10)]) == 0.0


def test_the_conditions_of_a_load_from_a_folder(models_dir: Path, tmp_path: Path) -> None:
    catalogue = Catalogue(models_dir, demo_dir=tmp_path)
    spec = LoadSpec(LLAMA, str(models_dir), str(tmp_path), dtype="float32")
    weights = [*(models_dir / LLAMA).glob("*.safetensors")]
    found = conditions_of(Launcher(), spec, catalogue.find(LLAMA), others=2)
    size = sum(path.stat().st_size for path in weights)
    assert (found["source"], found["dtype"], found["others"]) == ("folder", "float32", 2)
    assert (found["weight_bytes"], found["files"], found["fetch_bytes"]) == (size, len(weights), 0)
    assert found["other_bytes"] > 100
    assert found["start"] == "import", "nothing runs yet"
    assert found["wait_s"] > 0


def test_the_conditions_of_what_is_not_here(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path, demo_dir=tmp_path)
    folders = str(tmp_path), str(tmp_path)
    demo = conditions_of(Launcher(), LoadSpec(DEMO, *folders), catalogue.find(DEMO))
    assert demo["source"] == "demo"
    assert demo["fetch_bytes"] == demo["weight_bytes"] == pytest.approx(103e6, rel=0.02)
    unknown = conditions_of(Launcher(), LoadSpec("org/far", *folders), None)
    assert (unknown["source"], unknown["weight_bytes"], unknown["fetch_bytes"]) == ("hub", None, None)


def _load(server: Server, model_id: str) -> dict[str, Any]:
    ended = server.load(model_id)
    server.delete(f"/api/models/{model_id}")
    server.wait_spare()
    return dict(server.get(f"/api/loads/{ended['load_id']}").json())


def test_a_server_learns_from_its_loads_and_still_knows_after_a_restart(start_server: StartServer) -> None:
    server = start_server().wait_warm()
    server.wait_spare()
    first, *_, last = [_load(server, LLAMA) for _ in range(3)]
    assert first["forecast"]["basis"] == "none"
    assert last["forecast"]["basis"] == "model"
    assert first["conditions"]["start"] == last["conditions"]["start"] == "spare"
    server.stop()
    again = start_server(DATA_DIR=server.data_dir).wait_warm()
    again.wait_spare()
    plan = again.get(f"/api/plans?model={LLAMA}").json()
    assert plan["forecast"]["basis"] == "model"
    assert plan["forecast"]["seconds"] < 3 * last["seconds"]


def test_what_cannot_be_learned_from_does_not_stop_the_server(start_server: StartServer) -> None:
    server = start_server().wait_warm()
    _load(server, LLAMA)
    server.stop()
    with sqlite3.connect(server.data_dir / "history.sqlite3") as journal:
        journal.execute("""UPDATE loads SET conditions = '{"source": 7}'""")
    again = start_server(DATA_DIR=server.data_dir).wait_warm()
    assert again.load(LLAMA)["state"] == "ready"
