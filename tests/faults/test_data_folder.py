"""Whatever becomes of the data folder: models load, and what is wrong with it is said and mended."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from tests.faults.support import codes, own_server, works
from tests.support.forms import Visitor
from tests.support.ids import BERT, LLAMA
from tests.support.invariants import check_invariants
from tests.support.server import Server, wait_until


@pytest.fixture(scope="module")
def running(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose data folder is harmed while it runs; its log is elsewhere."""
    server = own_server(tmp_path_factory.mktemp("running"), MODELS_DIR=models_dir).start().wait_warm()
    yield server
    server.stop()


def _journal(server: Server) -> Path:
    return server.data_dir / "history.sqlite3"


def _set_aside(server: Server) -> list[Path]:
    return sorted(path for path in server.data_dir.glob("*.corrupt-*") if not path.name.endswith("-wal"))


def _recorded(server: Server) -> list[str]:
    """The loads in the journal, the newest first."""
    return [load["load_id"] for load in server.get("/api/loads?limit=200").json()["loads"]]


def _wait_written(server: Server, *load_ids: str) -> None:
    """Wait until all is well, and the file itself has these loads, each ended and counted once."""
    wait_until(lambda: not codes(server) and set(load_ids) <= _in_file(server).keys())
    assert {_in_file(server)[load_id] for load_id in load_ids} <= {"unloaded", "ready"}
    assert set(load_ids) <= set(_recorded(server))


def _in_file(server: Server) -> dict[str, str]:
    """The state of each load in the file, read from a copy, since the server has locked it."""
    copy = server.data_dir.parent / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for path in server.data_dir.glob("history.sqlite3*"):
        if path.name in ("history.sqlite3", "history.sqlite3-wal"):
            shutil.copy(path, copy)
    try:
        with closing(sqlite3.connect(copy / "history.sqlite3")) as database:
            (verdict,) = database.execute("PRAGMA integrity_check").fetchone()
            rows = dict(database.execute("SELECT load_id, state FROM loads"))
            (counted,) = database.execute("SELECT sum(loads) FROM counts").fetchone()
    except sqlite3.DatabaseError:
        return {}
    return rows if (verdict, counted) == ("ok", len(rows)) else {}


def _overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(os.urandom(os.stat(path).st_size))


def _truncate(path: Path) -> None:
    os.truncate(path, 5000)


@pytest.mark.parametrize("harm", [_overwrite, _truncate])
def test_a_journal_that_is_damaged_while_the_server_runs_is_set_aside_and_a_new_one_begun(
    running: Server, harm: Callable[[Path], None]
) -> None:
    before = works(running, LLAMA)
    known = len(_set_aside(running))
    harm(_journal(running))
    during = works(running, BERT)
    wait_until(lambda: codes(running) == ["journal_set_aside"])
    aside = _set_aside(running)
    assert len(aside) == known + 1
    assert re.fullmatch(r"history\.sqlite3\.corrupt-\d{4}-\d\d-\d\dT\d{6}(-\d+)?", aside[-1].name)
    readiness = running.get("/readyz")
    assert readiness.status_code == 200
    assert any(path.name in readiness.text for path in aside)
    for page in ("/", "/history", f"/models/{LLAMA}", f"/loads/{before}", "/docs"):
        assert "The journal of loads was damaged" in running.get(page).text, page
    for path in running.data_dir.glob("*.corrupt-*"):
        path.unlink()
    _wait_written(running, before, during)
    assert "The journal" not in running.get("/").text
    check_invariants(running)


@pytest.mark.parametrize("harm", [_overwrite, lambda path: os.truncate(path, 100), Path.unlink])
def test_side_files_may_be_overwritten_truncated_and_deleted(
    running: Server, harm: Callable[[Path], None]
) -> None:
    before, said = works(running, LLAMA), running.log().count("its file has lost its log")
    assert not (running.data_dir / "history.sqlite3-shm").exists(), "to truncate it would end the server"
    harm(running.data_dir / "history.sqlite3-wal")
    during = works(running, BERT)
    wait_until(lambda: running.log().count("its file has lost its log") > said)
    _wait_written(running, before, during)
    check_invariants(running)


def test_a_journal_that_was_deleted_is_written_back(running: Server) -> None:
    before = works(running, LLAMA)
    _journal(running).unlink()
    during = works(running, BERT)
    wait_until(lambda: "its file was deleted" in running.log())
    _wait_written(running, before, during)
    check_invariants(running)


def test_a_journal_that_was_replaced_is_used_with_the_loads_of_this_run(running: Server) -> None:
    before = works(running, LLAMA)
    other = running.data_dir / "other"
    with closing(sqlite3.connect(other)) as database:
        database.execute("CREATE TABLE notes (text)")
    os.replace(other, _journal(running))
    during = works(running, BERT)
    wait_until(lambda: "its file was replaced" in running.log())
    _wait_written(running, before, during)
    check_invariants(running)


def test_a_folder_that_was_removed_is_made_again_and_stays_the_servers(running: Server) -> None:
    before = works(running, LLAMA)
    shutil.rmtree(running.data_dir)
    during = works(running, BERT)
    wait_until(lambda: (running.data_dir / "modelhub.lock").exists())
    second = Server(running.data_dir, **{"MODELS_DIR": running.environ["MODELHUB_MODELS_DIR"]})
    ended = subprocess.run(
        [second.python, *second.command],
        cwd=second.cwd,
        env=second.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, "Another modelhub server" in ended.stderr) == (1, True), ended.stderr
    _wait_written(running, before, during)
    assert (running.data_dir / "secret_key").exists()
    check_invariants(running)


def test_a_folder_that_another_server_has_taken_is_left_to_it(running: Server) -> None:
    theirs, aside = (running.data_dir.with_name(name) for name in ("theirs", "aside"))
    theirs.mkdir()
    with (theirs / "modelhub.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        running.data_dir.rename(aside)
        theirs.rename(running.data_dir)  # at once, so that the second server is quicker
        shutil.rmtree(aside)
        wait_until(lambda: codes(running) == ["journal_unavailable"])
        during = works(running, LLAMA)
        assert "another modelhub server uses its folder" in running.get("/readyz").text
        assert not _journal(running).exists()
        assert during in _recorded(running)
    _wait_written(running, during)
    check_invariants(running)


def test_a_server_starts_on_a_damaged_journal_a_bad_key_and_a_bad_side_file(
    models_dir: Path, tmp_path: Path
) -> None:
    server = own_server(tmp_path, MODELS_DIR=models_dir)
    _journal(server).write_bytes(b"this is no database" * 1000)
    (server.data_dir / "secret_key").write_bytes(b"\xff\xfe" * 32)
    (server.data_dir / "warm_up.json").write_bytes(b"\xff{")
    server.start().wait_warm()
    try:
        assert codes(server) == ["journal_set_aside"]
        (aside,) = _set_aside(server)
        assert aside.read_bytes().startswith(b"this is no database")
        aside.unlink()
        _wait_written(server, works(server, LLAMA))
        (bad,) = server.data_dir.glob("secret_key.bad-*")
        assert bad.read_bytes() == b"\xff\xfe" * 32
        assert len((server.data_dir / "secret_key").read_text()) == 64
        old_page = {"model": LLAMA, "csrf_token": "signed-with-an-earlier-key"}
        visitor = Visitor(server)
        visitor.open("/")
        headers = {"Accept": "application/json"}
        answer = visitor.session.post(f"{server.url}/loads", old_page, headers=headers, timeout=30)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "form_expired")
        assert visitor.press("/", "/loads", model=LLAMA).ok, "the page as it is now"
        server.wait_state(LLAMA, ("ready",))
        assert json.loads((server.data_dir / "warm_up.json").read_text())["seconds"] > 0
        check_invariants(server)
    finally:
        server.stop()


def test_a_server_starts_while_another_program_has_locked_the_journal(
    models_dir: Path, tmp_path: Path
) -> None:
    server = own_server(tmp_path, MODELS_DIR=models_dir)
    (server.data_dir / "secret_key").touch()
    with closing(sqlite3.connect(_journal(server), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        server.start().wait_warm()
        try:
            assert server.get("/").status_code == 200
            during = [works(server, LLAMA), works(server, BERT)]
            assert codes(server) == ["journal_unavailable"]
            assert "another program has locked it" in server.get("/readyz").text
            assert "2 are kept in memory" in server.get("/").text
            assert set(during) == set(_recorded(server))
            assert server.get("/api/loads/0123456789abcdef").status_code == 503, "the file may have it"
            other.execute("ROLLBACK")
            _wait_written(server, *during)
            assert server.get("/api/loads/0123456789abcdef").status_code == 404
            check_invariants(server)
        finally:
            server.stop()


@contextmanager
def _on_small_disk(folder: Path, models_dir: Path) -> Iterator[Server]:
    """A server that starts on a read-only disk of 3 MB, a real tmpfs in a mount namespace of its own."""
    server = own_server(folder, MODELS_DIR=models_dir)
    disk = server.data_dir
    mount = f"mount -t tmpfs -o size=3m none {disk} && mount -o remount,ro {disk}"
    server.command = ["-rm", "sh", "-ec", f"{mount} && exec {server.python} wsgi.py"]
    server.python = "unshare"
    server.start().wait_warm()
    try:
        yield server
    finally:
        server.stop()


def test_a_disk_that_is_read_only_and_one_that_is_full_stop_no_load_and_no_load_is_lost(
    models_dir: Path, tmp_path: Path
) -> None:
    with _on_small_disk(tmp_path, models_dir) as server:
        disk = Path(f"/proc/{server.pid}/root{server.data_dir}")
        first = works(server, LLAMA)
        assert codes(server) == ["journal_unavailable"]
        assert "its folder cannot be written to" in server.get("/history").text
        assert "The key that signs sessions cannot be kept" in server.log()
        _remount_writable(server)
        wait_until(lambda: not codes(server))
        assert _recorded(server) == [first]
        assert (disk / "secret_key").exists()

        filler = disk / "filler"
        _fill(filler)
        during = [works(server, model_id) for model_id in (BERT, LLAMA) * 8]
        assert codes(server) == ["journal_unavailable"]
        assert "the disk is full" in server.get("/").text
        assert server.get("/readyz").status_code == 200
        assert _recorded(server) == [*during[::-1], first], "the history has them meanwhile"
        filler.unlink()
        wait_until(lambda: not codes(server))
        assert _recorded(server) == [*during[::-1], first]
        check_invariants(server)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1000))


def _remount_writable(server: Server) -> None:
    inside = ["nsenter", f"--target={server.pid}", "--user", "--mount", "--preserve-credentials"]
    subprocess.run([*inside, "mount", "-o", "remount,rw", str(server.data_dir)], check=True, timeout=10)
