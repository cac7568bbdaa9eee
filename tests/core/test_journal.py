"""The journal: what is kept of loads, over restarts and versions."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from modelhub import create_app
from modelhub.core import journal as journal_module
from modelhub.core.journal import Journal, new_row
from modelhub.core.journal_schema import MIGRATIONS
from modelhub.errors import ModelhubError
from modelhub.states import STATES_OF_OUTCOME, Outcome
from modelhub.web.current import registry_of
from tests.support.no_zygote import start_no_zygote
from tests.support.server import ROOT, wait_until


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
    assert [row["load_id"] for row in journal.interrupt()] == ["one"]
    row = journal.load("one")
    assert row is not None
    assert (row["state"], row["error"]["code"]) == ("interrupted", "interrupted")
    assert journal.interrupt() == []
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
    journal.update("new", {"state": "ready", "source": "folder"})
    journal.keep_timeline("new", {"began": [0.0], "series": [], "counts": [], "stalls": []})
    assert [row["source"] for row in journal.loads()] == ["folder", None]
    assert journal.timeline("new") == {"began": [0.0], "series": [], "counts": [], "stalls": []}
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
    journal.keep_timeline("one", {"began": [], "series": [], "counts": [], "stalls": []})
    assert "timeline" not in journal.loads()[0]
    assert journal.timeline("one") == {"began": [], "series": [], "counts": [], "stalls": []}
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
    forecast = {"seconds": 4.5, "low": 3.0, "high": 7.0, "steps": [0.5] * 9, "basis": "model"}
    journal.update("2", {"forecast": forecast})
    assert [(one.model_id, one.loads, one.completed) for one in journal.statistics()] == [
        ("org/a", 2, 2),
        ("org/b", 1, 0),
    ]
    (only,) = journal.statistics("org/a")
    assert (only.seconds_median, only.rate_median) == (2.0, 400.0)
    assert only.forecast_error_median == 0.5, "of the loads that had a forecast"
    journal.close()


def _filled(folder: Path, count: int, keep_loads: int = 1_000_000) -> Journal:
    """Loads of two models, every third failed, every fourth of the second model."""
    journal = Journal(folder, keep_loads)
    for number in range(count):
        journal.add(new_row(f"{number:04}", "org/b" if number % 4 == 0 else "org/a", "rest"))
        journal.update(f"{number:04}", {"state": "failed" if number % 3 == 0 else "unloaded"})
    return journal


def _ids(journal: Journal, *arguments: Any, **keywords: Any) -> list[str]:
    return [row["load_id"] for row in journal.loads(*arguments, **keywords)]


@pytest.mark.parametrize("model_id", [None, "org/a", "org/b", "org/none"])
@pytest.mark.parametrize("outcome", [None, Outcome.FAILED, Outcome.COMPLETED, Outcome.RUNNING])
def test_pages_by_number_and_by_cursor_are_parts_of_the_whole_list(
    tmp_path: Path, model_id: str | None, outcome: Outcome | None
) -> None:
    journal = _filled(tmp_path, 60)
    whole = _ids(journal, model_id, outcome, 1000)
    assert len(whole) == journal.count(model_id, outcome)
    assert whole == sorted(whole, reverse=True)
    for start in range(0, len(whole) + 3, 3):
        assert _ids(journal, model_id, outcome, 7, offset=start) == whole[start : start + 7]
    for cursor in (f"{number:04}" for number in range(0, 60, 7)):
        older, newer = [one for one in whole if one < cursor], [one for one in whole if one > cursor]
        assert _ids(journal, model_id, outcome, 5, before=cursor) == older[:5]
        assert _ids(journal, model_id, outcome, 5, after=cursor) == newer[-5:]
    with pytest.raises(ModelhubError) as caught:
        journal.loads(before="unknown")
    assert caught.value.code == "unknown_load"
    journal.close()


def test_loads_of_the_same_moment_are_listed_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for number in range(9):
        journal.add({**new_row(str(number), "org/a", "rest"), "requested_at": 5.0})
    assert _ids(journal, limit=3, before="6") == ["5", "4", "3"]
    assert _ids(journal, "org/a", limit=3, after="2") == ["5", "4", "3"]
    journal.close()


def _plan(journal: Journal, *arguments: Any, **keywords: Any) -> str:
    """How SQLite would run what ``loads`` runs."""
    statements: list[str] = []
    assert journal._store._file is not None
    database = journal._store._file.database
    database.set_trace_callback(statements.append)
    journal.loads(*arguments, **keywords)
    database.set_trace_callback(None)
    rows = database.execute(f"EXPLAIN QUERY PLAN {statements[-1]}").fetchall()
    return "\n".join(row["detail"] for row in rows)


def test_pages_are_read_from_indexes_in_order(tmp_path: Path) -> None:
    journal = _filled(tmp_path, 40)
    for model_id in (None, "org/a"):
        for outcome in (None, Outcome.FAILED, Outcome.COMPLETED):
            for where in ({"offset": 9}, {"before": "0020"}, {"after": "0020"}):
                plan = _plan(journal, model_id, outcome, 5, **where)
                # Of the rows themselves only those of the page are read and sorted.
                assert plan.count("B-TREE") == 1, plan
                assert "SCAN loads\n" not in plan
                assert plan.count("COVERING INDEX") >= 1, plan
    journal.close()


def test_the_oldest_loads_are_deleted_a_few_at_a_time_but_for_those_in_memory(tmp_path: Path) -> None:
    journal = _filled(tmp_path, 100, keep_loads=40)
    journal.keep_timeline("0001", {"began": [], "series": [], "counts": [], "stalls": []})
    journal.update("0002", {"state": "ready"})
    journal.update("0005", {"state": "loading"})
    rounds = 0
    while journal.trim():
        rounds += 1
    assert rounds >= 3
    assert journal.count() == 40
    assert _ids(journal, limit=100) == [*(f"{n:04}" for n in range(99, 61, -1)), "0005", "0002"]
    assert journal.count("org/a", Outcome.FAILED) == len(journal.loads("org/a", Outcome.FAILED, 100))
    assert journal.timeline("0001") is None
    journal.close()


def test_the_newest_timelines_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "KEPT_TIMELINES", 10)
    journal = _filled(tmp_path, 30)
    for number in range(30):
        journal.keep_timeline(
            f"{number:04}", {"began": [float(number)], "series": [], "counts": [], "stalls": []}
        )
    kept = [number for number in range(30) if journal.timeline(f"{number:04}") is not None]
    assert kept == list(range(20, 30))
    newest = journal.timeline("0029")
    assert newest is not None
    assert newest["began"] == [29.0]
    journal.close()


def _old_journal(folder: Path) -> None:
    """A file of version 4, with timelines in the table of the loads."""
    database = sqlite3.connect(folder / "history.sqlite3")
    database.executescript("".join(MIGRATIONS[:4]) + "PRAGMA user_version = 4;")
    for number in range(30):
        values = (f"{number:04}", "org/a", "failed" if number % 3 else "ready", "rest", float(number))
        database.execute(
            "INSERT INTO loads (load_id, model_id, state, by, requested_at, timeline)"
            " VALUES (?, ?, ?, ?, ?, '{\"began\": [1.5]}')",
            values,
        )
    database.commit()
    database.close()


def test_a_journal_with_timelines_among_its_loads_is_counted_and_cleared_bit_by_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "KEPT_TIMELINES", 5)
    _old_journal(tmp_path)
    journal = Journal(tmp_path)
    assert (journal.count(), journal.count("org/a", Outcome.FAILED)) == (30, 20)
    assert journal.timeline("0029") == journal.timeline("0003") == {"began": [1.5], "counts": []}
    while journal.trim():
        pass
    assert journal.timeline("0029") == {"began": [1.5], "counts": []}
    assert journal.timeline("0003") is None
    assert journal.count() == 30, "the loads themselves stay"
    journal.close()


def test_only_a_newest_load_that_was_interrupted_and_not_dismissed_is_restored(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for number, (model_id, state) in enumerate(
        [("org/a", "interrupted"), ("org/b", "interrupted"), ("org/a", "unloaded"), ("org/c", "interrupted")]
    ):
        journal.add(new_row(str(number), model_id, "rest"))
        journal.update(str(number), {"state": state, "error": {"code": "interrupted"}})
    assert set(journal.interrupted()) == {"org/b", "org/c"}
    journal.dismiss("org/c")
    assert set(journal.interrupted()) == {"org/b"}
    journal.close()


def test_a_server_deletes_what_is_beyond_its_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _filled(tmp_path, 150).close()
    app = create_app({"MODELHUB_DATA_DIR": tmp_path, "MODELHUB_KEEP_LOADS": 100})
    registry = registry_of(app)
    start_no_zygote(registry, monkeypatch)
    registry.start()
    wait_until(lambda: registry.journal.count() == 100)
    assert registry.journal.loads(limit=200)[-1]["load_id"] == "0050"
    registry.close()


def test_a_damaged_journal_is_set_aside_and_an_earlier_one_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite3"
    for number in range(1, 4):
        path.write_bytes(b"this is no database" * 1000)
        journal = Journal(tmp_path)
        journal.add(new_row("one", "org/a", "rest"))
        assert [error.code for error in journal.troubles()] == ["journal_set_aside"]
        assert journal.count() == 1
        journal.close()
        assert len(list(tmp_path.glob("history.sqlite3.corrupt-*"))) == number


@pytest.mark.parametrize("size", [0, 100, 5000, 30_000])
def test_a_journal_of_any_length_opens(tmp_path: Path, size: int) -> None:
    _filled(tmp_path, 300).close()
    os.truncate(tmp_path / "history.sqlite3", size)
    journal = Journal(tmp_path)
    journal.add(new_row("new", "org/a", "rest"))
    assert journal.load("new") is not None
    assert journal.count() == 1
    journal.close()


def test_a_folder_in_place_of_the_journal_is_set_aside_too(tmp_path: Path) -> None:
    (tmp_path / "history.sqlite3").mkdir()
    journal = Journal(tmp_path)
    journal.add(new_row("one", "org/a", "rest"))
    assert [row["load_id"] for row in journal.loads()] == ["one"]
    journal.close()


def test_a_large_journal_that_was_deleted_is_written_back_whole_while_it_is_used(tmp_path: Path) -> None:
    journal = _filled(tmp_path, 900)
    (tmp_path / "history.sqlite3").unlink()
    assert not journal.mend()
    assert journal.troubles() == []
    journal.add(new_row("new", "org/a", "rest"))
    assert journal.count() == 901
    journal.close()
    again = Journal(tmp_path)
    assert again.count() == 901
    again.close()


def test_loads_that_cannot_be_written_are_kept_in_memory_the_newest_of_them_and_written_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelhub.core.journal_store.IN_MEMORY", 20)
    other = sqlite3.connect(tmp_path / "history.sqlite3", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    journal = _filled(tmp_path, 30)
    journal.keep_timeline("0029", {"began": [1.0], "series": [], "counts": [], "stalls": []})
    journal.dismiss("org/a")
    journal.mend()
    (error,) = journal.troubles()
    assert (error.code, "another program has locked it" in error.message) == ("journal_unavailable", True)
    assert "20 are kept in memory until then, but the 10 oldest of them are lost" in error.hint
    assert _ids(journal, limit=99) == [f"{number:04}" for number in range(29, 9, -1)]
    assert journal.count("org/b", Outcome.FAILED) == len(journal.loads("org/b", Outcome.FAILED))
    with pytest.raises(ModelhubError) as caught:
        journal.load("0001")
    assert caught.value.code == "journal_unavailable"
    other.close()
    assert journal.mend(), "a file that may have loads of an earlier run"
    assert journal.troubles() == []
    assert journal.load("0001") is None
    journal.close()
    again = Journal(tmp_path)
    assert _ids(again, limit=99) == [f"{number:04}" for number in range(29, 9, -1)]
    assert again.timeline("0029") == {"began": [1.0], "series": [], "counts": [], "stalls": []}
    again.close()


def test_rows_that_a_damaged_file_has_made_unreadable_break_no_list(tmp_path: Path) -> None:
    _filled(tmp_path, 3).close()
    with closing(sqlite3.connect(tmp_path / "history.sqlite3")) as database:
        database.execute("UPDATE loads SET steps = '[0.1' WHERE load_id = '0001'")
        database.execute("UPDATE loads SET forecast = CAST(x'ff00fe' AS TEXT) WHERE load_id = '0002'")
        database.execute("INSERT INTO timelines VALUES ('0000', x'00ff')")
        database.commit()
    journal = Journal(tmp_path)
    assert _ids(journal) == ["0000"]
    assert journal.timeline("0000") is None
    assert len(journal.statistics()) == 2
    assert journal.troubles() == []
    journal.close()


def test_what_was_in_hand_is_resumed_once_but_not_a_resumed_load_that_ran(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for load_id, by, state in (
        ("a", "page", "ready"),
        ("b", "page", "loading"),
        ("c", "page", "failed"),
        ("d", "resume", "loading"),
        ("e", "resume", "queued"),
        ("f", "resume", "ready"),
        ("g", "page", "unloaded"),
    ):
        journal.add(new_row(load_id, f"org/{load_id}", by))
        journal.update(load_id, {"state": state})
    journal.interrupt(but=["f"])
    assert [row["load_id"] for row in journal.take_to_resume()] == ["a", "b", "e"]
    assert journal.take_to_resume() == []
    assert set(journal.interrupted()) == {"org/b", "org/d", "org/e"}
    journal.close()
