"""flask traces: real loads are written into a file, and replayed from it without a server."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.ids import BERT, LLAMA
from tests.support.server import Server
from tests.support.terminal import flask

AWAY = {**os.environ, "MODELHUB_SERVER": "http://127.0.0.1:9"}


def test_real_loads_are_exported_and_replayed(empty_server: Server, tmp_path: Path) -> None:
    for model_id in (LLAMA, BERT, LLAMA):
        empty_server.load(model_id)
        empty_server.delete(f"/api/models/{model_id}")
    path = tmp_path / "loads.jsonl"
    done = flask(empty_server.environ, "traces", "export", "--limit", "3", "--out", str(path))
    assert (done.returncode, done.stderr) == (0, "3 loads written\n")
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert [one["model"] for one in found] == [LLAMA, BERT, LLAMA], "the oldest first"
    assert all(sum(one["steps"]) == pytest.approx(one["seconds"], abs=0.05) for one in found)

    replayed = flask(AWAY, "traces", "replay", str(path))
    assert (replayed.returncode, replayed.stderr) == (0, "")
    assert [line.split()[0] for line in replayed.stdout.splitlines()] == ["Model", LLAMA, BERT, LLAMA]


def test_of_one_model_and_without_names(empty_server: Server) -> None:
    for model_id in (LLAMA, BERT):
        empty_server.load(model_id)
    done = flask(empty_server.environ, "traces", "export", "--model", BERT, "--anonymous", "--limit", "1")
    (one,) = map(json.loads, done.stdout.splitlines())
    assert one["conditions"]["weight_bytes"] == one["bytes"] > 0
    assert "tiny" not in done.stdout


def test_what_is_no_recorded_load_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"model": 1}\n')
    done = flask(AWAY, "traces", "replay", str(path))
    assert done.returncode == 2
    assert "x.jsonl, line 1: not a recorded load." in done.stderr


def test_without_a_server_nothing_is_exported() -> None:
    done = flask(AWAY, "traces", "export")
    assert (done.returncode, done.stdout) == (2, "")
