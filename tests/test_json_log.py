"""The lines of the log as JSON."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

from modelhub.json_log import JsonFormatter
from tests.support.ids import LLAMA
from tests.support.server import ROOT, Server, wait_until

FORGED = 'a\r\n{"level": "INFO", "message": "forged"}\x1b[31m\x85\u2028\udc80'


def logger() -> tuple[logging.Logger, io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    log = logging.Logger("test")
    log.addHandler(handler)
    return log, stream


def test_what_a_client_sent_can_neither_forge_a_line_nor_reach_a_terminal() -> None:
    log, stream = logger()
    log.warning("%s – ü", FORGED, extra={"model": FORGED})
    try:
        raise ValueError(FORGED)
    except ValueError:
        log.exception("It failed")
    written = stream.getvalue()
    assert written.isascii()
    assert "\x1b" not in written
    assert "\r" not in written
    first, second = (json.loads(line) for line in written.splitlines())
    assert (first["message"], first["model"]) == (f"{FORGED} – ü", FORGED)
    assert second["message"] == "It failed"
    assert second["traceback"].startswith("Traceback (most recent call last):\n")


def test_a_line_says_when_it_was_written_by_whom_and_of_which_load() -> None:
    log, stream = logger()
    log.error("x", extra={"load_id": "1f", "model": "org/name", "code": "killed", "other": 7})
    line = json.loads(stream.getvalue())
    assert abs(datetime.now(UTC) - datetime.fromisoformat(line.pop("time"))).total_seconds() < 60
    assert line == {
        **{"level": "ERROR", "logger": "test", "message": "x", "pid": os.getpid()},
        **{"load_id": "1f", "model": "org/name", "code": "killed"},
    }
    log.error("without a load", extra={"code": None})
    assert set(json.loads(stream.getvalue().splitlines()[1])) == {"time", "level", "logger", "message", "pid"}


def lines(server: Server) -> list[dict[str, Any]]:
    """The log; a line that is no JSON is an error."""
    return [json.loads(line) for line in server.log().splitlines(keepends=True) if line.endswith("\n")]


def about(server: Server, load_ids: list[str]) -> list[dict[str, Any]]:
    """The lines about these loads."""
    return [line for line in lines(server) if line.get("load_id") in load_ids]


def test_every_line_of_a_server_is_json_and_those_of_loads_name_them(large_server: Server) -> None:
    done = large_server.load(LLAMA)
    failed = large_server.load("no/such-model")
    large_server.process_of(LLAMA).kill()
    wait_until(lambda: large_server.snapshot(LLAMA)["state"] == "failed")
    ids = [done["load_id"]] * 2 + [failed["load_id"]] * 2 + [done["load_id"]]
    wait_until(lambda: [line["load_id"] for line in about(large_server, ids)] == ids)
    of_loads = about(large_server, ids)
    assert [line.get("code") for line in of_loads] == [None, None, None, failed["error"]["code"], "killed"]
    assert [line["model"] for line in of_loads] == [LLAMA] * 2 + ["no/such-model"] * 2 + [LLAMA]
    assert {line["logger"] for line in of_loads} == {"modelhub.loads"}
    assert any("Listening at" in line["message"] for line in lines(large_server))


def test_a_process_that_the_server_starts_writes_the_same_lines() -> None:
    code = (
        "import logging, warnings; from modelhub import json_log; json_log.use_in_child();"
        "logging.getLogger('modelhub.workers').warning('a\\nb'); warnings.warn('c\\nd')"
    )

    def stderr(log: str) -> str:
        environ = {**os.environ, "MODELHUB_LOG": log}
        command = [sys.executable, "-c", code]
        return subprocess.run(
            command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True, timeout=30
        ).stderr

    first, second = map(json.loads, stderr("json").splitlines())
    assert (first["logger"], first["message"]) == ("modelhub.workers", "a\nb")
    assert (second["logger"], "c\nd" in second["message"]) == ("py.warnings", True)
    assert stderr("text").startswith("a\nb\n")
