"""The server that is fuzzed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.server import Server


@pytest.fixture
def quiet(server: Server) -> Iterator[Server]:
    """The shared server, whose log has no traceback in the end."""
    read = len(server.log())
    yield server
    assert server.get("/livez").ok
    assert "Traceback" not in server.log()[read:]
