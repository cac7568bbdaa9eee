from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from modelhub.errors import ModelhubError
from modelhub.history import Journal
from tests.server import ROOT


def test_a_load_is_a_row_with_its_steps(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.add("one", "org/a", "rest")
    journal.update("one", state="ready", steps=[0.1, None], seconds=2.5, error={"code": "x"})
    row = journal.load("one")
    assert row is not None
    assert (row["state"], row["steps"], row["seconds"], row["error"]) == (
        "ready",
        [0.1, None],
        2.5,
        {"code": "x"},
    )
    assert journal.load("two") is None
    journal.close()


def test_the_newest_come_first_and_of_one_model_only_its_own(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for number in range(5):
        journal.add(str(number), "org/a" if number % 2 else "org/b", "rest")
    assert [row["load_id"] for row in journal.loads(limit=3)] == ["4", "3", "2"]
    assert [row["load_id"] for row in journal.loads("org/a")] == ["3", "1"]
    journal.close()


def test_what_a_dead_server_left_is_interrupted(tmp_path: Path) -> None:
    leave = (
        "import os; from pathlib import Path; from modelhub.history import Journal;"
        f"journal = Journal(Path({str(tmp_path)!r})); journal.add('one', 'org/a', 'rest');"
        "journal.update('one', state='loading'); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", leave], cwd=ROOT, timeout=60, check=False)
    journal = Journal(tmp_path)
    assert journal.interrupt() == 1
    row = journal.load("one")
    assert row is not None
    assert (row["state"], row["error"]["code"]) == ("interrupted", "interrupted")
    assert journal.interrupt() == 0
    journal.close()


def test_one_server_per_data_folder(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with pytest.raises(ModelhubError) as caught:
        Journal(tmp_path)
    assert caught.value.code == "already_running"
    journal.close()
    Journal(tmp_path).close()


def test_a_write_that_fails_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(tmp_path)
    journal.close()
    journal.add("one", "org/a", "rest")
    assert "could not be written" in caplog.text
