"""The journal: what is kept of loads, over restarts and versions."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from modelhub.core.journal import Journal, new_row
from modelhub.errors import ModelhubError
from modelhub.states import STATES_OF_OUTCOME
from tests.support.server import ROOT


def test_a_load_is_a_row_with_its_steps(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.add(new_row("one", "org/a", "rest"))
    journal.update("one", {"state": "ready", "steps": [0.1, None], "seconds": 2.5, "error": {"code": "x"}})
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


def test_loads_are_listed_newest_first_of_all_models_or_of_one(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for number in range(5):
        journal.add(new_row(str(number), "org/a" if number % 2 else "org/b", "rest"))
    assert [row["load_id"] for row in journal.loads(limit=3)] == ["4", "3", "2"]
    assert [row["load_id"] for row in journal.loads("org/a")] == ["3", "1"]
    journal.close()


def test_a_load_of_a_server_that_died_is_interrupted(tmp_path: Path) -> None:
    script = (
        "import os; from pathlib import Path; from modelhub.core.journal import Journal, new_row;"
        f"journal = Journal(Path({str(tmp_path)!r})); journal.add(new_row('one', 'org/a', 'rest'));"
        "journal.update('one', dict(state='loading')); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, timeout=60, check=False)
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


def test_a_write_that_fails_is_logged_as_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(tmp_path)
    journal.close()
    journal.add(new_row("one", "org/a", "rest"))
    assert "could not be written" in caplog.text


FIRST_VERSION = """
CREATE TABLE loads (
    load_id TEXT PRIMARY KEY, model_id TEXT NOT NULL, state TEXT NOT NULL, by TEXT NOT NULL,
    requested_at REAL NOT NULL, started_at REAL, ended_at REAL, seconds REAL, bytes INTEGER, device TEXT,
    dtype TEXT, error TEXT, steps TEXT
);
CREATE INDEX loads_by_model ON loads (model_id, requested_at);
"""


def test_a_journal_of_the_first_version_keeps_its_rows(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "history.sqlite3")
    old.executescript(FIRST_VERSION)
    row = ("old", "org/a", "ready", "page", 10.0, 11.0, 13.5, 2.5, 100, "cpu", "float32", None, "[0.5, null]")
    old.execute(f"INSERT INTO loads VALUES ({', '.join('?' * 13)})", row)  # noqa: S608
    old.commit()
    old.close()

    # The second time there is nothing to migrate.
    for _ in range(2):
        journal = Journal(tmp_path)
        kept = journal.load("old")
        assert kept is not None
        assert (
            kept.items() >= {"model_id": "org/a", "seconds": 2.5, "bytes": 100, "steps": [0.5, None]}.items()
        )
        assert (
            kept["ended_by"] is kept["source"] is kept["requested_dtype"] is journal.timeline("old") is None
        )
        journal.close()

    journal = Journal(tmp_path)
    journal.add(new_row("new", "org/a", "rest"))
    journal.update("new", {"state": "ready", "source": "folder", "timeline": {"began": [0.0]}})
    assert [row["source"] for row in journal.loads()] == ["folder", None]
    assert journal.timeline("new") == {"began": [0.0]}
    journal.close()


def test_a_journal_of_a_newer_modelhub_is_left_alone(tmp_path: Path) -> None:
    Journal(tmp_path).close()
    database = sqlite3.connect(tmp_path / "history.sqlite3")
    database.execute("PRAGMA user_version = 99")
    database.close()
    # The second time shows that the lock was released.
    for _ in range(2):
        with pytest.raises(ModelhubError) as caught:
            Journal(tmp_path)
        assert caught.value.code == "newer_journal"


def test_a_list_of_loads_has_no_timelines(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.add(new_row("one", "org/a", "rest"))
    journal.update("one", {"timeline": {"began": [], "series": [], "stalls": []}})
    assert "timeline" not in journal.loads()[0]
    assert journal.timeline("one") == {"began": [], "series": [], "stalls": []}
    assert journal.timeline("two") is None
    journal.close()


def test_loads_are_filtered_by_outcome_and_model_and_come_in_pages(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    states = [state for states in STATES_OF_OUTCOME.values() for state in states]
    for number, state in enumerate(states * 2):
        journal.add(new_row(str(number), "org/a" if number < len(states) else "org/b", "rest"))
        journal.update(str(number), {"state": state})
    assert journal.count() == 14
    assert journal.count("org/a") == 7
    for outcome, its_states in STATES_OF_OUTCOME.items():
        assert {row["state"] for row in journal.loads(outcome=outcome)} == set(its_states)
        assert journal.count(outcome=outcome) == 2 * len(its_states)
        assert journal.count("org/b", outcome) == len(journal.loads("org/b", outcome)) == len(its_states)
    pages = [journal.loads(limit=5, offset=offset) for offset in (0, 5, 10, 15)]
    assert [row["load_id"] for page in pages for row in page] == [str(n) for n in range(13, -1, -1)]
    journal.close()


def test_statistics_are_of_the_newest_loads_of_each_model(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for number, (model_id, state) in enumerate(
        [("org/a", "ready"), ("org/b", "failed"), ("org/a", "unloaded")]
    ):
        journal.add(new_row(str(number), model_id, "rest"))
        journal.update(str(number), {"state": state, "seconds": number + 1.0, "bytes": 600})
    assert [(one.model_id, one.loads, one.completed) for one in journal.statistics()] == [
        ("org/a", 2, 2),
        ("org/b", 1, 0),
    ]
    (only,) = journal.statistics("org/a")
    assert (only.seconds_median, only.rate_median) == (2.0, 400.0)
    journal.close()
