"""The lines of the log."""

from __future__ import annotations

import io
import logging

from modelhub.plain_log import PlainFormatter


def test_what_a_client_sent_can_neither_forge_a_line_nor_reach_a_terminal() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(PlainFormatter("%(levelname)s %(message)s"))
    log = logging.Logger("test")
    log.addHandler(handler)
    log.info("%s – ü", "a\r\nINFO forged\x1b[31m\x85\u2028")
    try:
        raise ValueError("b\nINFO forged\x1b[31m")
    except ValueError:
        log.exception("It failed")
    lines = stream.getvalue().split("\n")
    assert lines[0] == r"INFO a\r\nINFO forged\x1b[31m\x85\u2028 – ü"
    assert lines[1] == "ERROR It failed"
    assert all(line.startswith("    ") for line in lines[2:] if line)
    assert "\x1b" not in stream.getvalue()
