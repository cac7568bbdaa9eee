"""Hundreds of hostile folders, loaded as the product loads them: each ends with its code and does no more."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from tests.support import models
from tests.support.hostile.case import LOADS, Outside
from tests.support.hostile.corpus import BASES, all_cases
from tests.support.hostile.loads import Load
from tests.support.server import ROOT

pytestmark = pytest.mark.timeout(600)  # the first test waits for all loads: 20 s where nothing else runs
CASES = all_cases()
HARMLESS = {f"harmless-{Path(base).name}": base for base in BASES}
MAX_SECONDS, MAX_BOMB_SECONDS = 2.0, 10.0  # of the processor, so that nothing else that runs counts
MAX_BYTES = 200 * 10**6


class Loads:
    """What the loads have done, by the name of the case, and what was seen beside them."""

    def __init__(self, lines: str, connections: int) -> None:
        self.connections = connections
        self.opened: list[str] = []
        self.by_name: dict[str, Load] = {}
        for one in map(json.loads, lines.splitlines()):
            if one["name"]:
                self.by_name[one["name"]] = Load(**one)
            else:
                self.opened += one["did"]


@pytest.fixture(scope="module")
def loads(tmp_path_factory: pytest.TempPathFactory) -> Loads:
    """Makes all folders and loads them, in a process with a token and, for a hub, a socket that listens."""
    root = tmp_path_factory.mktemp("hostile")
    bases, folders, outside = root / "bases", root / "models", Outside(root / "outside")
    for base in BASES:
        (models.FOUR | models.MORE)[base](bases / base)
    _make_outside(outside, bases / "tiny/llama")
    for name in CASES:
        CASES[name].make(bases / CASES[name].base, folders / name, outside)
    for name, base in HARMLESS.items():
        shutil.copytree(bases / base, folders / name)
    with socket.create_server(("127.0.0.1", 0), backlog=128) as hub:
        address = f"http://127.0.0.1:{hub.getsockname()[1]}"
        specs = "\n".join(json.dumps({"name": n, "models_dir": str(folders)}) for n in [*HARMLESS, *CASES])
        done = subprocess.run(
            [sys.executable, "-m", "tests.support.hostile.loads", str(outside.folder)],
            input=specs,
            text=True,
            capture_output=True,
            cwd=ROOT,
            timeout=500,
            check=False,
            env={
                **os.environ,
                "HF_ENDPOINT": address,
                "HF_TOKEN": "hf_hostile",
                "HF_HOME": str(root / "hub"),
            },
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return Loads(done.stdout, _waiting_connections(hub))


def _make_outside(outside: Outside, model: Path) -> None:
    outside.folder.mkdir()
    Path(outside.file).write_text("secret\n")
    os.mkfifo(outside.pipe)
    shutil.copytree(model, outside.model)


def _waiting_connections(hub: socket.socket) -> int:
    """How many connections were made: nobody has accepted them."""
    hub.setblocking(False)
    count = 0
    while True:
        try:
            connection, _ = hub.accept()
        except BlockingIOError:
            return count
        connection.close()
        count += 1


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_hostile_folder_costs_a_clear_refusal(loads: Loads, name: str) -> None:
    case, load = CASES[name], loads.by_name[name]
    assert load.code in case.codes, load.message
    assert load.did == [], "it opened a file outside its folder, or sent something"
    assert load.seconds <= (MAX_BOMB_SECONDS if case.is_bomb else MAX_SECONDS)
    assert load.grown_bytes <= MAX_BYTES + max(loads.by_name[one].grown_bytes for one in HARMLESS)


@pytest.mark.parametrize("name", HARMLESS)
def test_the_real_models_that_they_are_made_from_load(loads: Loads, name: str) -> None:
    load = loads.by_name[name]
    assert (load.code, load.did) == (LOADS, [])


def test_nothing_was_asked_of_the_hub_although_there_is_a_token(loads: Loads) -> None:
    assert loads.connections == 0


def test_no_file_outside_was_opened_by_anything(loads: Loads) -> None:
    assert loads.opened == []


def test_no_message_has_a_path(loads: Loads) -> None:
    parts = ("/tmp", "/outside", "/models/")
    assert [load for load in loads.by_name.values() if any(part in load.message for part in parts)] == []


def test_there_are_hundreds_of_all_kinds() -> None:
    codes: defaultdict[str, int] = defaultdict(int)
    for case in CASES.values():
        for code in case.codes:
            codes[code] += 1
    assert len(CASES) > 400
    assert set(codes) >= {"refused", "bad_config", "bad_tokenizer", "corrupt_own", "missing_weights", LOADS}
